--- The language server as a Neovim LSP client: one process for all folders, requests and progress.
--- Features register here for the progress of their tokens.
local M = {}

M.NAME = 'codellama'

---@type table<string, fun(value: table)>
local listening = {}
local tokens = 0

---@param text string
---@param level? integer
function M.say(text, level)
  vim.notify('Code Llama: ' .. text, level or vim.log.levels.INFO)
end

---@return lsp.ClientCapabilities
local function capabilities()
  local can = vim.lsp.protocol.make_client_capabilities()
  can.textDocument.inlineCompletion = { dynamicRegistration = false }
  local own = require('codellama.suggesting').renderer() == 'own'
  can.experimental = {
    codellamaStatus = true,
    codellamaReports = own, -- Neovim's own renderer does not report what it shows
    codellamaChat = true,
    codellamaEdit = true,
  }
  return can
end

--- Partial results arrive as progress without a kind; other progress goes to Neovim.
local function on_progress(err, params, ctx, config)
  local listener = params and listening[params.token]
  if listener then
    return listener(params.value)
  end
  return vim.lsp.handlers['$/progress'](err, params, ctx, config)
end

---@param bufnr integer
---@param found fun(root: string)
local function root_dir(bufnr, found)
  if vim.bo[bufnr].buftype ~= '' then
    return
  end
  if not require('codellama.server').command() then
    vim.notify_once('Code Llama: ' .. require('codellama.server').MISSING, vim.log.levels.WARN)
    return
  end
  local name = vim.api.nvim_buf_get_name(bufnr)
  found(vim.fs.root(bufnr, '.git') or (name ~= '' and vim.fs.dirname(name)) or assert(vim.uv.cwd()))
end

--- Reuse the running server, and add a new folder to it.
---@param client vim.lsp.Client
---@param config vim.lsp.ClientConfig
local function reuse(client, config)
  if client.name ~= M.NAME or client:is_stopped() then
    return false
  end
  local root = config.root_dir
  local folders = client.workspace_folders or {}
  local uri = root and vim.uri_from_fname(root)
  local known = vim.iter(folders):any(function(folder)
    return folder.uri == uri
  end)
  if uri and not known and client.initialized then
    local added = { uri = uri, name = root }
    client:notify('workspace/didChangeWorkspaceFolders', { event = { added = { added }, removed = {} } })
    client.workspace_folders = vim.list_extend(folders, { added })
  end
  return true
end

--- Request code actions with the diagnostics of all servers; otherwise there is nothing to fix.
---@param client vim.lsp.Client
local function tell_all_diagnostics(client)
  local request = client.request
  client.request = function(self, method, params, handler, bufnr)
    if method == 'textDocument/codeAction' and params then
      local range = params.range
      local of = vim.uri_to_bufnr(params.textDocument.uri)
      local found = require('codellama.place').diagnostics(of, range.start.line, range['end'].line)
      params =
        vim.tbl_extend('force', params, { context = vim.tbl_extend('force', params.context, { diagnostics = found }) })
    end
    return request(self, method, params, handler, bufnr)
  end
end

--- The contents of `lsp/codellama.lua`.
---@return vim.lsp.Config
function M.config()
  local settings = require('codellama.config').options.settings
  settings = next(settings) and settings or vim.empty_dict() -- an empty table would be sent as a list
  return {
    cmd = function(dispatchers)
      local server = require('codellama.server')
      local cmd = assert(server.command(), server.MISSING)
      return vim.lsp.rpc.start(cmd, dispatchers, { cwd = server.NEUTRAL_FOLDER })
    end,
    root_dir = root_dir,
    reuse_client = reuse,
    capabilities = capabilities(),
    init_options = settings,
    settings = { codellama = settings },
    commands = {
      ['codellama.openChat'] = function(command)
        require('codellama.chat').about(command.arguments[1])
      end,
      ['codellama.editWithInstruction'] = function(command)
        require('codellama.edit').at(command.arguments[1])
      end,
    },
    handlers = {
      ['$/progress'] = on_progress,
      ['codellama/status'] = function(_, params)
        require('codellama.status').take(params)
      end,
    },
    on_init = tell_all_diagnostics,
    on_exit = function()
      vim.schedule(function()
        require('codellama.status').gone()
      end)
    end,
  }
end

--- Enable the server for open and future files.
function M.enable()
  vim.lsp.enable(M.NAME)
end

--- The initialised client of a buffer.
---@param bufnr integer
---@return vim.lsp.Client?
function M.of(bufnr)
  local found = vim.lsp.get_clients({ name = M.NAME, bufnr = bufnr })[1]
  return found and found.initialized and found or nil
end

--- A client, preferably this buffer's. Without one, notify the user.
---@return vim.lsp.Client?
function M.any()
  local found = M.of(vim.api.nvim_get_current_buf()) or vim.lsp.get_clients({ name = M.NAME })[1]
  if not found then
    M.say('the language server is not running. Run `:checkhealth codellama`.', vim.log.levels.WARN)
  end
  return found
end

--- Create a token for partial results; `listener` receives them. `forget` it afterwards.
---@param listener fun(value: table)
---@return string
function M.listen(listener)
  tokens = tokens + 1
  local token = ('codellama-nvim-%d'):format(tokens)
  listening[token] = listener
  return token
end

---@param token string
function M.forget(token)
  listening[token] = nil
end

--- Send a request. Errors are shown to the user, except cancellation.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@param answered fun(result: any, failed: boolean)
---@param bufnr? integer
---@return integer? id
function M.ask(client, method, params, answered, bufnr)
  local _, id = client:request(method, params, function(err, result)
    if err and err.code ~= vim.lsp.protocol.ErrorCodes.RequestCancelled then
      M.say(err.message, vim.log.levels.WARN)
    end
    answered(result, err ~= nil)
  end, bufnr)
  return id
end

return M
