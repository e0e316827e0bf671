--- Enable or disable suggestions globally, by filetype or by buffer.
local M = {}

---@type table<string, boolean>
local switched = {}

---@param filetype string
---@return boolean
local function of_filetype(filetype)
  if switched[filetype] ~= nil then
    return switched[filetype]
  end
  return require('codellama.config').options.filetypes[filetype] ~= false
end

---@param bufnr integer
---@return boolean
function M.is(bufnr)
  return vim.g.codellama_enabled ~= false
    and vim.b[bufnr].codellama_enabled ~= false
    and of_filetype(vim.bo[bufnr].filetype)
end

--- Toggle, and report the scope.
---@param scope 'global'|'buffer'|'filetype'
---@param on? boolean the other of what is, if nil
---@return string
function M.switch(scope, on)
  local bufnr = vim.api.nvim_get_current_buf()
  local filetype, where = vim.bo[bufnr].filetype, 'everywhere'
  if scope == 'buffer' then
    on = on == nil and vim.b[bufnr].codellama_enabled == false or on == true
    vim.b[bufnr].codellama_enabled, where = on, 'in this buffer'
  elseif scope == 'filetype' then
    on = on == nil and not of_filetype(filetype) or on == true
    switched[filetype], where = on, ("in files of type '%s'"):format(filetype)
  else
    on = on == nil and vim.g.codellama_enabled == false or on == true
    vim.g.codellama_enabled = on
  end
  return ('suggestions are %s %s.'):format(on and 'on' or 'off', where)
end

return M
