--- The subject of a chat message: the current file and the selected lines.
local place = require('codellama.place')

local M = {}

local namespace = vim.api.nvim_create_namespace('codellama.about')

---@class codellama.About
---@field bufnr integer
---@field mark? integer of the lines that were chosen, if any

--- A window of this tab page that shows a file: the current one, the previous one, or any.
---@return integer?
function M.window()
  local windows = { vim.api.nvim_get_current_win(), vim.fn.win_getid(vim.fn.winnr('#')) }
  vim.list_extend(windows, vim.api.nvim_tabpage_list_wins(0))
  return vim.iter(windows):find(function(win)
    return win ~= 0 and vim.bo[vim.api.nvim_win_get_buf(win)].buftype == ''
  end)
end

---@param bufnr integer
---@param lines? { [1]: integer, [2]: integer } one-based
---@return codellama.About
function M.new(bufnr, lines)
  local mark
  if lines then
    local last = vim.api.nvim_buf_get_lines(bufnr, lines[2] - 1, lines[2], true)[1]
    mark = vim.api.nvim_buf_set_extmark(bufnr, namespace, lines[1] - 1, 0, {
      end_row = lines[2] - 1,
      end_col = #last,
      end_right_gravity = true,
    })
  end
  return { bufnr = bufnr, mark = mark }
end

--- The current position of the lines, one-based.
---@param about codellama.About
---@return { [1]: integer, [2]: integer }?
function M.lines(about)
  if not about.mark or not vim.api.nvim_buf_is_loaded(about.bufnr) then
    return nil
  end
  local row, _, details =
    unpack(vim.api.nvim_buf_get_extmark_by_id(about.bufnr, namespace, about.mark, { details = true }))
  return row and { row + 1, details.end_row + 1 } or nil
end

--- Request parameters; empty if the file is gone.
---@param about? codellama.About
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return table
function M.params(about, encoding)
  if not about or not vim.api.nvim_buf_is_loaded(about.bufnr) then
    return {}
  end
  local lines = M.lines(about)
  local range = lines and vim.api.nvim_buf_call(about.bufnr, function()
    return place.range(lines, encoding)
  end)
  return {
    textDocument = { uri = vim.uri_from_bufnr(about.bufnr) },
    range = range or nil,
    diagnostics = place.diagnostics(about.bufnr, 0, math.huge),
  }
end

return M
