--- Explain the last request with the server's trace.
local client = require('codellama.client')

local M = {}

---@param record table
---@return string
local function in_words(record)
  if record.result == 'shown' then
    return ('%d characters were suggested.'):format(record.shown)
  end
  return record.reason ~= '' and record.reason .. '.' or record.result .. '.'
end

---@param records table[]
---@param uri string
---@return table?
local function last_of(records, uri)
  for n = #records, 1, -1 do
    if records[n].uri == uri then
      return records[n]
    end
  end
end

--- Request the trace of this buffer's last request.
---@param told fun(reason: string, record?: table)
function M.last(told)
  local bufnr = vim.api.nvim_get_current_buf()
  local to = client.any()
  if not to then
    return
  end
  client.ask(to, 'codellama/trace', {}, function(records)
    local record = last_of(records or {}, vim.uri_from_bufnr(bufnr))
    told(record and in_words(record) or 'no suggestion has been requested in this buffer yet.', record)
  end, bufnr)
end

--- The reason why no request is sent at all; empty if there is none.
---@return string
local function before_asking()
  local bufnr = vim.api.nvim_get_current_buf()
  if not require('codellama.enabled').is(bufnr) then
    return 'suggestions are turned off here. Run `:CodeLlama enable [buffer|filetype]`.'
  end
  if not client.of(bufnr) then
    return 'the language server is not attached to this buffer. Run `:checkhealth codellama`.'
  end
  local status = require('codellama.status').last()
  if status and status.phase ~= 'ready' and status.phase ~= 'idle' then
    return ('the engine is not ready (%s): %s'):format(status.phase, status.message)
  end
  return ''
end

---@param record table
---@return string[]
local function details(record)
  local trigger = record.invoked and 'by hand' or 'while typing'
  local lines = { '', ('line %d, requested %s'):format(record.line + 1, trigger) }
  if record.source ~= '' then
    lines[#lines + 1] = 'answered without the model: ' .. record.source
  end
  if record.filter ~= '' then
    lines[#lines + 1] = 'rules that changed the text: ' .. record.filter
  end
  local stages = {}
  for _, stage in ipairs({ 'gate', 'cache', 'debounce', 'engine', 'shape' }) do
    if record.stages[stage] then
      stages[#stages + 1] = ('%s %.0f'):format(stage, record.stages[stage])
    end
  end
  lines[#lines + 1] = ('%.0f ms in total: %s'):format(record.total_ms, table.concat(stages, ', '))
  return lines
end

--- `:CodeLlama why`
function M.show()
  local reason = before_asking()
  if reason ~= '' then
    return client.say(reason)
  end
  M.last(function(words, record)
    require('codellama.report').show('Why', vim.list_extend({ words }, record and details(record) or {}))
  end)
end

return M
