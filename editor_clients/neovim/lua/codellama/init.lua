--- The public API of the plugin.
local M = {}

local started = false

---@param text string
local function warn(text)
  vim.notify('Code Llama: ' .. text, vim.log.levels.WARN)
end

--- Set options, see |codellama-options|. Optional.
---@param options? table
function M.setup(options)
  for _, problem in ipairs(require('codellama.config').set(options)) do
    warn(problem .. '; the default is used.')
  end
  if started then
    require('codellama.keys').map()
  end
end

--- Start the language server for every file, suggestions and keys. The plugin calls this by itself.
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

--- Return whether a suggestion is visible, for the user's own mappings.
---@return boolean
function M.visible()
  return require('codellama.suggesting').visible()
end

--- Accept a suggestion, or its first word or line. Returns whether there was one. Not for `expr` mappings.
---@param part? 'all'|'word'|'line'
---@return boolean
function M.accept(part)
  return require('codellama.suggesting').accept(part or 'all')
end

--- Text for a status line: the engine's state or the last latency.
---@return string
function M.statusline()
  return require('codellama.status').statusline()
end

return M
