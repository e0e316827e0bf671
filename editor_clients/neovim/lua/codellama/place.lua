--- Convert positions between LSP and Neovim.
local M = {}

--- Convert a position to row and column, zero-based, the column in bytes.
---@param bufnr integer
---@param position lsp.Position
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return integer row, integer column
function M.bytes(bufnr, position, encoding)
  local line = vim.api.nvim_buf_get_lines(bufnr, position.line, position.line + 1, false)[1]
  if not line then
    return vim.api.nvim_buf_line_count(bufnr), 0
  end
  return position.line, vim.str_byteindex(line, encoding, position.character, false)
end

--- A range of whole lines; without lines, an empty range at the cursor.
---@param lines? { [1]: integer, [2]: integer } one-based, both included
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return lsp.Range
function M.range(lines, encoding)
  if not lines then
    local position = vim.lsp.util.make_position_params(0, encoding).position
    return { start = position, ['end'] = position }
  end
  local last = vim.api.nvim_buf_get_lines(0, lines[2] - 1, lines[2], true)[1]
  local character = vim.str_utfindex(last, encoding, #last, false)
  return {
    start = { line = lines[1] - 1, character = 0 },
    ['end'] = { line = lines[2] - 1, character = character },
  }
end

--- The diagnostics of all servers in LSP form. Neovim sends a server only its own.
---@param bufnr integer
---@param first integer zero-based
---@param last integer
---@return lsp.Diagnostic[]
function M.diagnostics(bufnr, first, last)
  local found = {}
  for _, one in ipairs(vim.diagnostic.get(bufnr)) do
    if one.lnum <= last and (one.end_lnum or one.lnum) >= first then
      found[#found + 1] = {
        range = {
          start = { line = one.lnum, character = one.col },
          ['end'] = { line = one.end_lnum or one.lnum, character = one.end_col or one.col },
        },
        severity = one.severity,
        message = one.message,
        source = one.source,
        code = one.code,
      }
    end
  end
  return found
end

return M
