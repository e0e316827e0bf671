--- Code Llama in Neovim: what a person's configuration calls. Everything else is behind it.
local M = {}

local started = false

---@param text string
local function warn(text)
  vim.notify('Code Llama: ' .. text, vim.log.levels.WARN)
end

--- Options, see |codellama-options|. Needs not be called where the defaults will do.
---@param options? table
function M.setup(options)
  for _, problem in ipairs(require('codellama.config').set(options)) do
    warn(problem .. '; its default is used.')
  end
  if started then
    require('codellama.keys').map()
  end
end

--- Begin: the language server for every file from now on, suggestions and keys. The plugin does it by itself.
function M.start()
  if started then
    return
  end
  started = true
  require('codellama.highlights').define()
  require('codellama.ghost.watch').begin()
  require('codellama.client').enable()
  require('codellama.keys').map()
end

--- Is a suggestion on the screen? For mappings of one's own.
---@return boolean
function M.visible()
  return require('codellama.suggesting').visible()
end

--- Take a suggestion, or its first word or line. Tells whether there was one; not for `expr` mappings.
---@param part? 'all'|'word'|'line'
---@return boolean
function M.accept(part)
  return require('codellama.suggesting').accept(part or 'all')
end

--- A few words for a status line: what the model is doing, or why it is not.
---@return string
function M.statusline()
  return require('codellama.status').statusline()
end

return M
