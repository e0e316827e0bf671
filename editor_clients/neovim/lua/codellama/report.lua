--- A floating window with some lines, closed when the cursor moves.
local M = {}

---@param title string
---@param lines string[]
---@return integer bufnr
function M.show(title, lines)
  local bufnr = vim.lsp.util.open_floating_preview(lines, 'text', {
    border = 'rounded',
    title = ' Code Llama: ' .. title .. ' ',
    focus_id = 'codellama.report',
    wrap = true,
    max_width = math.max(20, math.min(100, vim.o.columns - 4)),
  })
  return bufnr
end

return M
