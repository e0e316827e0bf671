--- The engine's last reported state as text for a status line.
local M = {}

---@class codellama.Status
---@field phase string
---@field message string
---@field progress number
---@field model string
---@field chat_model? string
---@field limits? string
---@field today? { shown: integer, accepted: integer, acceptance: number? }

---@type codellama.Status?
local last
---@type number?
local latency

---@return codellama.Status?, number? milliseconds that the last answer took
function M.last()
  return last, latency
end

---@param status codellama.Status
function M.take(status)
  local was = last and last.phase
  last = status
  vim.cmd.redrawstatus({ bang = true })
  vim.api.nvim_exec_autocmds('User', { pattern = 'CodeLlamaStatus', modeline = false })
  if status.phase == 'ready' and was ~= 'ready' then
    require('codellama.suggesting').ready()
  end
end

--- Called when the server exits.
function M.gone()
  last, latency = nil, nil
end

---@param milliseconds number
function M.answered(milliseconds)
  latency = milliseconds
end

--- `Code Llama`, followed by any unusual state.
---@return string
function M.statusline()
  if not last then
    return ''
  end
  if not require('codellama.enabled').is(vim.api.nvim_get_current_buf()) then
    return 'Code Llama off'
  end
  if last.phase == 'loading' then
    return ('Code Llama %d%%'):format(last.progress or 0)
  end
  if last.phase ~= 'ready' then
    return 'Code Llama ' .. last.phase
  end
  return latency and ('Code Llama %d ms'):format(latency) or 'Code Llama'
end

return M
