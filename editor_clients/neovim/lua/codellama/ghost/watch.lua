--- Autocommands of our renderer in insert mode; enable Neovim's own if it is selected.
local M = {}

local function own()
  local ghost = require('codellama.ghost')
  local group = vim.api.nvim_create_augroup('codellama.ghost', {})
  vim.api.nvim_create_autocmd('InsertEnter', { group = group, callback = vim.schedule_wrap(ghost.changed) })
  local typed = { 'TextChangedI', 'TextChangedP', 'CursorMovedI' }
  vim.api.nvim_create_autocmd(typed, {
    group = group,
    callback = function()
      ghost.update()
    end,
  })
  vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave', 'WinLeave' }, { group = group, callback = ghost.clear })
  require('codellama.popup').watch(group, ghost.changed)
end

local function builtin()
  vim.api.nvim_create_autocmd('LspAttach', {
    group = vim.api.nvim_create_augroup('codellama.ghost', {}),
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == require('codellama.client').NAME then
        require('codellama.builtin').enable(client.id)
      end
    end,
  })
end

--- Start watching.
function M.begin()
  if require('codellama.suggesting').renderer() == 'builtin' then
    builtin()
  else
    own()
  end
end

return M
