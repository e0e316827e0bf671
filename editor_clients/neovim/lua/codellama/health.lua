--- `:checkhealth codellama`: checks of the plugin. `codellama-ls doctor` checks the server and the engine.
local M = {}

local function check_editor()
  vim.health.start('Neovim')
  if vim.fn.has('nvim-0.11') == 1 then
    vim.health.ok(tostring(vim.version()))
  else
    vim.health.error('The plugin needs Neovim 0.11 or newer.')
  end
  local renderer = require('codellama.config').options.renderer
  if renderer == 'builtin' and not vim.lsp.inline_completion then
    vim.health.warn("renderer = 'builtin' needs Neovim 0.12; the plugin's own renderer is used.")
  end
end

---@return string[]? command
local function check_program()
  vim.health.start('codellama-ls')
  local command = require('codellama.server').command()
  if not command then
    local places = table.concat(require('codellama.server').places(), ', ')
    vim.health.error(require('codellama.server').MISSING, { 'Searched in PATH and: ' .. places })
    return nil
  end
  vim.health.ok(table.concat(command, ' '))
  return command
end

---@param command string[]
---@param ... string
---@return string? output
local function run(command, ...)
  local words = vim.tbl_filter(function(word)
    return word ~= '--stdio'
  end, command)
  local ok, result = pcall(function(...)
    local options = { text = true, cwd = require('codellama.server').NEUTRAL_FOLDER }
    return vim.system(vim.list_extend(words, { ... }), options):wait(60000)
  end, ...)
  return ok and result.stdout or nil
end

local shown = { ok = vim.health.ok, warning = vim.health.warn, problem = vim.health.error }

---@param command string[]
local function check_server(command)
  local ok, found = pcall(vim.json.decode, run(command, 'doctor', '--quick', '--json') or '')
  if not ok or type(found) ~= 'table' then
    return vim.health.error('`codellama-ls doctor --quick` gave no result.', { 'Run it in a shell to see the error.' })
  end
  for _, check in ipairs(found.checks or {}) do
    local say = shown[check.verdict] or vim.health.info
    local advice = type(check.advice) == 'string' and check.advice ~= '' and { check.advice } or nil
    say(('%s: %s'):format(check.name, check.text), advice)
  end
end

local function check_client()
  vim.health.start('Language server')
  local clients = vim.lsp.get_clients({ name = 'codellama' })
  if #clients == 0 then
    return vim.health.info('It is not running; it starts with the first file.')
  end
  for _, client in ipairs(clients) do
    local info = client.server_info or {}
    local version, buffers = info.version or '', vim.tbl_count(client.attached_buffers)
    vim.health.ok(('%s %s is attached to %d buffers'):format(info.name or 'codellama-ls', version, buffers))
  end
  local status = require('codellama.status').last()
  if status then
    local say = status.phase == 'failed' and vim.health.error or vim.health.ok
    say(('engine: %s, model %s. %s'):format(status.phase, status.model, status.message))
  end
end

local function check_keys()
  vim.health.start('Keys')
  for name, lhs in vim.spairs(require('codellama.config').options.keys) do
    local mapped = lhs and vim.fn.maparg(lhs, 'i', false, true) or {}
    if lhs and not (mapped.desc or ''):find('^Code Llama') then
      vim.health.warn(('%s (%s) is mapped to something else: %s'):format(lhs, name, mapped.desc or mapped.rhs or '?'))
    elseif lhs then
      vim.health.ok(('%s: %s'):format(lhs, name))
    end
  end
end

function M.check()
  require('codellama').start()
  check_editor()
  local command = check_program()
  if command then
    check_server(command)
  end
  check_client()
  check_keys()
end

return M
