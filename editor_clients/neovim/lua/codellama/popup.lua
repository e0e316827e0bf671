--- Detect an open completion menu: Neovim's own, nvim-cmp's or blink.cmp's.
local M = {}

---@param name string
---@param ... string names of the function that says so, the first one there counts
---@return boolean
local function asked(name, ...)
  local plugin = package.loaded[name]
  if type(plugin) ~= 'table' then
    return false
  end
  for _, fn in ipairs({ ... }) do
    if type(plugin[fn]) == 'function' then
      local ok, answer = pcall(plugin[fn])
      return ok and answer == true
    end
  end
  return false
end

---@return boolean
function M.visible()
  return vim.fn.pumvisible() == 1 or asked('cmp', 'visible') or asked('blink.cmp', 'is_menu_visible', 'is_visible')
end

--- Call `changed` when a menu closes, or when a menu of a plugin opens.
---@param group integer
---@param changed fun()
function M.watch(group, changed)
  vim.api.nvim_create_autocmd('CompleteDone', { group = group, callback = vim.schedule_wrap(changed) })
  local patterns = { 'BlinkCmpMenuOpen', 'BlinkCmpMenuClose' }
  local callback = vim.schedule_wrap(changed)
  vim.api.nvim_create_autocmd('User', { group = group, pattern = patterns, callback = callback })
  vim.api.nvim_create_autocmd('InsertEnter', {
    group = group,
    callback = function()
      local cmp = package.loaded['cmp']
      if type(cmp) ~= 'table' or not cmp.event then
        return
      end
      cmp.event:on('menu_opened', callback)
      cmp.event:on('menu_closed', callback)
      return true
    end,
  })
end

return M
