--- `omnifunc` of a chat page: tasks at the beginning of a message, and mentions.
local M = {}

local TASKS = { '/explain', '/fix', '/tests', '/doc', '/commit' }
local MENTIONS = { '#file:', '#selection', '#diagnostics', '#symbol:', '#diff', '#open' }
local MOST = 200

---@param lead string
---@return string[]
local function files(lead)
  local client = require('codellama.client').any()
  local found = {}
  for _, folder in ipairs(client and client.workspace_folders or {}) do
    local root = vim.uri_to_fname(folder.uri)
    for name, kind in vim.fs.dir(root, { depth = 6, skip = M.entered }) do
      if kind == 'file' and not name:find('/%.') and vim.startswith(name, lead) then
        found[#found + 1] = '#file:' .. (name:find('%s') and ('"%s"'):format(name) or name)
      end
      if #found == MOST then
        return found
      end
    end
  end
  return found
end

--- Skip hidden folders and folders of installed packages.
---@param name string
---@return boolean
function M.entered(name)
  local last = vim.fs.basename(name)
  return not vim.startswith(last, '.') and last ~= 'node_modules'
end

--- Words of the current file.
---@param lead string
---@return string[]
local function symbols(lead)
  local win = require('codellama.chat.about').window()
  if not win then
    return {}
  end
  local seen = {}
  for _, line in ipairs(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(win), 0, 5000, false)) do
    for word in line:gmatch('[%a_][%w_]+') do
      if vim.startswith(word, lead) then
        seen['#symbol:' .. word] = true
      end
    end
  end
  local found = vim.tbl_keys(seen)
  table.sort(found)
  return vim.list_slice(found, 1, MOST)
end

---@param base string
---@return string[]
local function candidates(base)
  if vim.startswith(base, '#file:') then
    return files(base:sub(7))
  elseif vim.startswith(base, '#symbol:') then
    return symbols(base:sub(9))
  end
  local all = vim.startswith(base, '/') and TASKS or MENTIONS
  return vim.tbl_filter(function(one)
    return vim.startswith(one, base)
  end, all)
end

---@param findstart integer
---@param base string
---@return integer|string[]
function M.omnifunc(findstart, base)
  if findstart == 1 then
    local before = vim.api.nvim_get_current_line():sub(1, vim.api.nvim_win_get_cursor(0)[2])
    local start = before:find('#[^%s#]*$') or before:find('^/%a*$')
    return start and start - 1 or -3
  end
  return candidates(base)
end

return M
