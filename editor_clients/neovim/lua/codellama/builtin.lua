--- Neovim's own inline completion (0.12 and newer) with our keys. It accepts only whole suggestions and has no
--- manual trigger.
local M = {}

local NAMESPACE = 'nvim.lsp.inline_completion'

--- Enable it for our client.
---@param client_id integer
function M.enable(client_id)
  vim.lsp.inline_completion.enable(true, { client_id = client_id })
end

---@return boolean
function M.visible()
  local namespace = vim.api.nvim_get_namespaces()[NAMESPACE]
  return namespace ~= nil and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { limit = 1 }) > 0
end

---@return boolean
function M.accept()
  return M.visible() and vim.lsp.inline_completion.get()
end

---@param by integer
function M.cycle(by)
  vim.lsp.inline_completion.select({ count = by })
end

function M.clear()
  local namespace = vim.api.nvim_get_namespaces()[NAMESPACE]
  if namespace then
    vim.api.nvim_buf_clear_namespace(0, namespace, 0, -1)
  end
end

M.dismiss = M.clear

function M.trigger()
  require('codellama.client').say("requesting a suggestion by hand needs renderer = 'own'.")
end

return M
