--- Status, statistics, log and restart.
local client = require('codellama.client')
local report = require('codellama.report')

local M = {}

---@param share number?
---@return string
local function percent(share)
  return type(share) == 'number' and (' (%.0f %%)'):format(share * 100) or ''
end

--- `:CodeLlama status`
function M.status()
  local status, latency = require('codellama.status').last()
  local bufnr = vim.api.nvim_get_current_buf()
  local attached = client.of(bufnr) and 'attached' or 'not attached'
  local lines = { ('language server: %s to this buffer'):format(attached) }
  if not status then
    lines[#lines + 1] = 'engine: state not known yet'
  else
    lines[#lines + 1] = ('engine: %s%s'):format(status.phase, status.message ~= '' and ', ' .. status.message or '')
    lines[#lines + 1] = 'model: ' .. status.model
    if status.chat_model and status.chat_model ~= status.model then
      lines[#lines + 1] = 'model for chat: ' .. status.chat_model
    end
    lines[#lines + 1] = status.limits ~= '' and status.limits or nil
  end
  local today = status and status.today
  if type(today) == 'table' then
    local words = 'today: %d suggestions shown, %d accepted%s'
    lines[#lines + 1] = words:format(today.shown, today.accepted, percent(today.acceptance))
  end
  if latency then
    lines[#lines + 1] = ('last latency: %d ms'):format(latency)
  end
  lines[#lines + 1] = 'suggestions here: ' .. (require('codellama.enabled').is(bufnr) and 'on' or 'off')
  report.show('Status', lines)
end

---@param name string
---@param group table
---@return string[]
local function of_group(name, group)
  local lines = {
    ('%s: %d shown, %d accepted%s, %d in part'):format(
      name,
      group.shown,
      group.accepted,
      percent(group.acceptance),
      group.partly_accepted
    ),
  }
  lines[#lines + 1] = ('  %d characters saved'):format(group.characters_saved)
  if type(group.latency_ms) == 'table' then
    lines[#lines + 1] = ('  latency: %.0f ms (median), %.0f ms (95th percentile)'):format(
      group.latency_ms.p50,
      group.latency_ms.p95
    )
  end
  return lines
end

--- `:CodeLlama stats`
function M.stats()
  local to = client.any()
  if not to then
    return
  end
  client.ask(to, 'codellama/stats', {}, function(stats)
    if not stats then
      return
    end
    local lines = of_group('30 days', stats.all)
    vim.list_extend(lines, of_group('today', stats.today))
    for language, group in vim.spairs(stats.languages) do
      vim.list_extend(lines, of_group(language, group))
    end
    report.show('Statistics', lines)
  end)
end

--- `:CodeLlama log`: Neovim's LSP log, which contains our server's stderr.
function M.log()
  local log = vim.lsp.log or require('vim.lsp.log')
  vim.cmd.split(vim.fn.fnameescape(log.get_filename()))
  vim.bo.readonly, vim.bo.modifiable = true, false
  vim.cmd.normal({ 'G', bang = true })
end

--- `:CodeLlama restart`
function M.restart()
  local running = vim.lsp.get_clients({ name = client.NAME })
  local buffers = {}
  for _, one in ipairs(running) do
    vim.list_extend(buffers, vim.tbl_keys(one.attached_buffers))
    one:stop()
  end
  local function begin()
    for _, bufnr in ipairs(buffers) do
      if vim.api.nvim_buf_is_loaded(bufnr) then
        vim.api.nvim_exec_autocmds('FileType', { group = 'nvim.lsp.enable', buffer = bufnr })
      end
    end
  end
  local tries = 0
  local function when_gone()
    tries = tries + 1
    if #vim.lsp.get_clients({ name = client.NAME }) > 0 and tries < 100 then
      return vim.defer_fn(when_gone, 50)
    end
    begin()
  end
  when_gone()
end

return M
