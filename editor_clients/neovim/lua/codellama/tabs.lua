--- Expand tabs in virtual text, which would be drawn as `^I`. Pure.
local M = {}

--- Replace tabs with blanks.
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
