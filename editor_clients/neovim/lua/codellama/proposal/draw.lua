--- Draw proposed changes: removed text is highlighted, new lines are virtual lines below it.
local M = {}

local namespace = vim.api.nvim_create_namespace('codellama.proposal')

--- One hunk, anchored to an extmark that moves with the text.
---@class codellama.Hunk
---@field id integer
---@field mark integer
---@field text string the new text
---@field drawn? integer[] marks of the virtual lines

---@class codellama.Span
---@field row integer
---@field column integer
---@field last integer
---@field stop integer

--- The current position of a hunk.
---@param bufnr integer
---@param hunk codellama.Hunk
---@return codellama.Span
function M.span(bufnr, hunk)
  local row, column, details =
    unpack(vim.api.nvim_buf_get_extmark_by_id(bufnr, namespace, hunk.mark, { details = true }))
  return { row = row, column = column, last = details.end_row or row, stop = details.end_col or column }
end

---@param bufnr integer
---@param span codellama.Span
---@return integer mark
local function mark(bufnr, span)
  return vim.api.nvim_buf_set_extmark(bufnr, namespace, span.row, span.column, {
    end_row = span.last,
    end_col = span.stop,
    hl_group = 'CodeLlamaRemoved',
    end_right_gravity = span.row ~= span.last or span.column ~= span.stop,
    strict = false,
  })
end

---@param bufnr integer
---@param row integer
---@return string
local function line_of(bufnr, row)
  return vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
end

--- Return whether a hunk and the next one touch the same line.
---@param a codellama.Span
---@param b codellama.Span
local function share(a, b)
  return a.last == b.row
    and not (a.stop == 0 and a.last > a.row)
    and not (a.row == a.last and a.stop == 0 and b.column == 0)
end

--- Hunks that touch the same lines are drawn as one.
---@param bufnr integer
---@param hunks codellama.Hunk[] in order
---@return { hunk: codellama.Hunk, span: codellama.Span }[][]
local function groups(bufnr, hunks)
  local found = {}
  for _, hunk in ipairs(hunks) do
    local one = { hunk = hunk, span = M.span(bufnr, hunk) }
    local group = found[#found]
    if group and share(group[#group].span, one.span) then
      group[#group + 1] = one
    else
      found[#found + 1] = { one }
    end
  end
  return found
end

--- Return whether a group ends with whole lines, so that it shares no line with the next.
---@param group { hunk: codellama.Hunk, span: codellama.Span }[]
local function whole(group)
  local first, last = group[1].span, group[#group]
  local text = last.hunk.text
  return last.span.stop == 0 and (vim.endswith(text, '\n') or text == '' and first.column == 0)
end

--- The new lines of a group, as chunks of one highlight group each.
---@param bufnr integer
---@param group { hunk: codellama.Hunk, span: codellama.Span }[]
---@return [string, string][][]
local function after(bufnr, group)
  local lines, row, column = { {} }, group[1].span.row, 0
  local function add(text, colour)
    for n, part in ipairs(vim.split(text, '\n', { plain = true })) do
      if n > 1 then
        lines[#lines + 1] = {}
      end
      if part ~= '' then
        table.insert(lines[#lines], { part, colour })
      end
    end
  end
  for _, one in ipairs(group) do
    if one.span.row == row then
      add(line_of(bufnr, row):sub(column + 1, one.span.column), 'CodeLlamaAdded')
    end
    add(one.hunk.text, 'CodeLlamaAddedText')
    row, column = one.span.last, one.span.stop
  end
  if not whole(group) then
    add(line_of(bufnr, row):sub(column + 1), 'CodeLlamaAdded')
  elseif #lines[#lines] == 0 then
    lines[#lines] = nil
  end
  return lines
end

--- Drop unchanged lines at the beginning: they are visible above.
---@param lines [string, string][][]
---@param group { hunk: codellama.Hunk, span: codellama.Span }[]
local function without_unchanged(lines, group)
  local one = group[1]
  if #group == 1 and one.span.row == one.span.last and one.span.column == one.span.stop and #lines > 1 then
    if one.span.column > 0 and vim.startswith(one.hunk.text, '\n') then
      table.remove(lines, 1)
    end
  end
  return lines
end

--- Expand tabs, which would be drawn as `^I`, and keep empty lines visible.
---@param bufnr integer
---@param lines [string, string][][]
local function visible(bufnr, lines)
  local tabstop = vim.bo[bufnr].tabstop
  for _, line in ipairs(lines) do
    local column = 0
    for _, chunk in ipairs(line) do
      chunk[1] = require('codellama.tabs').expanded(chunk[1], column, tabstop)
      column = column + vim.fn.strdisplaywidth(chunk[1], column)
    end
    if #line == 0 then
      line[1] = { ' ', 'CodeLlamaAdded' }
    end
  end
  return lines
end

--- Virtual lines above line 1 are only visible if the window is scrolled to them.
---@param bufnr integer
---@param count integer
local function make_room(bufnr, count)
  for _, win in ipairs(vim.fn.win_findbuf(bufnr)) do
    vim.api.nvim_win_call(win, function()
      if vim.fn.winsaveview().topline == 1 then
        vim.schedule(function()
          if vim.api.nvim_win_is_valid(win) then
            vim.api.nvim_win_call(win, function()
              vim.fn.winrestview({ topline = 1, topfill = count })
            end)
          end
        end)
      end
    end)
  end
end

---@param bufnr integer
---@param group { hunk: codellama.Hunk, span: codellama.Span }[]
---@return integer mark
local function draw(bufnr, group)
  local last = group[#group].span
  local lines = visible(bufnr, without_unchanged(after(bufnr, group), group))
  local row, above = last.last, false
  if whole(group) then
    row, above = last.last - 1, last.last == 0
  end
  row = math.max(row, 0)
  if above then
    make_room(bufnr, #lines)
  end
  return vim.api.nvim_buf_set_extmark(bufnr, namespace, row, 0, { virt_lines = lines, virt_lines_above = above })
end

--- Redraw hunks.
---@param bufnr integer
---@param hunks codellama.Hunk[] in order
function M.redraw(bufnr, hunks)
  for _, hunk in ipairs(hunks) do
    M.undraw(bufnr, hunk)
  end
  for _, group in ipairs(groups(bufnr, hunks)) do
    local drawn = draw(bufnr, group)
    for _, one in ipairs(group) do
      one.hunk.drawn = { drawn }
    end
  end
end

--- Remove a hunk's virtual lines.
---@param bufnr integer
---@param hunk codellama.Hunk
function M.undraw(bufnr, hunk)
  for _, drawn in ipairs(hunk.drawn or {}) do
    vim.api.nvim_buf_del_extmark(bufnr, namespace, drawn)
  end
  hunk.drawn = nil
end

--- Create a hunk with its extmark, without drawing it.
---@param bufnr integer
---@param id integer
---@param span codellama.Span
---@param text string
---@return codellama.Hunk
function M.hunk(bufnr, id, span, text)
  return { id = id, mark = mark(bufnr, span), text = text }
end

---@param bufnr integer
---@param hunk codellama.Hunk
function M.remove(bufnr, hunk)
  M.undraw(bufnr, hunk)
  vim.api.nvim_buf_del_extmark(bufnr, namespace, hunk.mark)
end

--- Draw a hint at the end of a hunk's first line.
---@param bufnr integer
---@param hunk codellama.Hunk
---@param text string
function M.hint(bufnr, hunk, text)
  local row = math.max(math.min(M.span(bufnr, hunk).row, vim.api.nvim_buf_line_count(bufnr) - 1), 0)
  local hint = { virt_text = { { text, 'CodeLlamaHint' } }, virt_text_pos = 'eol' }
  table.insert(hunk.drawn or {}, vim.api.nvim_buf_set_extmark(bufnr, namespace, row, 0, hint))
end

return M
