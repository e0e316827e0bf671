--- Code blocks of a response: find the one under the cursor, yank, insert or apply it.
local M = {}

--- The lines of the fenced block around a row, without its fences.
---@param lines string[]
---@param row integer one-based
---@return string[]?
function M.block(lines, row)
  local fence, first
  for n, line in ipairs(lines) do
    local ticks = line:match('^%s*(```+)') or line:match('^%s*(~~~+)')
    if fence and ticks and vim.startswith(ticks, fence) and line:match('^%s*[`~]+%s*$') then
      if first - 1 <= row and row <= n then
        return vim.list_slice(lines, first, n - 1)
      end
      fence = nil
    elseif not fence and ticks then
      fence, first = ticks, n + 1
    end
  end
  if fence and first - 1 <= row then
    return vim.list_slice(lines, first)
  end
end

---@return string[]?
local function under_cursor()
  local row = vim.api.nvim_win_get_cursor(0)[1]
  local found = M.block(vim.api.nvim_buf_get_lines(0, 0, -1, false), row)
  if not found then
    require('codellama.client').say('there is no code block under the cursor.')
  end
  return found
end

--- Yank into the unnamed register, linewise.
function M.yank()
  local code = under_cursor()
  if code then
    vim.fn.setreg(vim.v.register, code, 'V')
    require('codellama.client').say(('%d lines yanked.'):format(#code))
  end
end

---@param blanks string
---@param code string[]
local function indented(blanks, code)
  return vim.tbl_map(function(line)
    return line == '' and '' or blanks .. line
  end, code)
end

--- Insert below the cursor's line in the code window, with its indentation. A blank line is replaced.
---@param win integer?
function M.insert(win)
  local code = under_cursor()
  if not code then
    return
  elseif not win then
    return require('codellama.client').say('no window shows a file. Open one to insert the code into.')
  end
  local bufnr, row = vim.api.nvim_win_get_buf(win), vim.api.nvim_win_get_cursor(win)[1]
  local line = vim.api.nvim_buf_get_lines(bufnr, row - 1, row, true)[1]
  local blank = not line:find('%S')
  local lines = indented(line:match('^%s*'), code)
  vim.api.nvim_buf_set_lines(bufnr, blank and row - 1 or row, row, true, lines)
end

--- Replace the lines that the message was about.
---@param about? codellama.About
function M.apply(about)
  local code = under_cursor()
  if not code then
    return
  end
  local lines = about and require('codellama.chat.about').lines(about)
  if not about or not lines then
    local words = 'the message did not refer to lines of a file. `gi` inserts the code at the cursor.'
    return require('codellama.client').say(words)
  end
  local first = vim.api.nvim_buf_get_lines(about.bufnr, lines[1] - 1, lines[1], true)[1]
  local own = code[1] and code[1]:match('^%s*') or ''
  local blanks = own == '' and first:match('^%s*') or ''
  vim.api.nvim_buf_set_lines(about.bufnr, lines[1] - 1, lines[2], true, indented(blanks, code))
end

return M
