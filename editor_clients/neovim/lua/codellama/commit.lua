--- `:CodeLlama commit`: insert a commit message for the staged changes at the cursor.
local client = require('codellama.client')

local M = {}

function M.write()
  local to, bufnr = client.any(), vim.api.nvim_get_current_buf()
  if not to then
    return
  end
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  client.ask(to, 'codellama/commitMessage', vim.empty_dict(), function(answer)
    if not answer or not vim.api.nvim_buf_is_loaded(bufnr) then
      return
    end
    vim.api.nvim_buf_set_lines(bufnr, row, row, false, vim.split(answer.message, '\n', { plain = true }))
  end, bufnr)
end

return M
