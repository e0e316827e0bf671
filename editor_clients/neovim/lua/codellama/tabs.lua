--- Tabs in text that is shown and not there: a terminal would show them as `^I`. Pure.
local M = {}

--- With blanks in the place of tabs.
---@param line string
---@param column integer the screen column it begins at
---@param tabstop integer
---@return string
function M.expanded(line, column, tabstop)
  if not line:find('\t', 1, true) then
    return line
  end
  local parts = {}
  for before, tab in line:gmatch('([^\t]*)(\t?)') do
    column = column + vim.fn.strdisplaywidth(before, column)
    local blanks = tab == '' and 0 or tabstop - column % tabstop
    column = column + blanks
    parts[#parts + 1] = before .. (' '):rep(blanks)
  end
  return table.concat(parts)
end

return M
