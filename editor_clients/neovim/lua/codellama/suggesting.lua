--- One interface for both renderers: our own, and Neovim's (0.12 and newer).
local M = {}

--- The renderer in use. Neovim's own requires 0.12.
---@return 'own'|'builtin'
function M.renderer()
  local builtin = require('codellama.config').options.renderer == 'builtin' and vim.lsp.inline_completion ~= nil
  return builtin and 'builtin' or 'own'
end

local function it()
  return require(M.renderer() == 'own' and 'codellama.ghost' or 'codellama.builtin')
end

---@return boolean
function M.visible()
  return it().visible()
end

---@param part 'all'|'word'|'line'
---@return boolean
function M.accept(part)
  return it().accept(part)
end

--- Return whether the renderer can accept a part of a suggestion.
---@param part 'all'|'word'|'line'
---@return boolean
function M.acceptable(part)
  return it().visible() and (part == 'all' or M.renderer() == 'own')
end

---@param by integer
function M.cycle(by)
  it().cycle(by)
end

function M.dismiss()
  it().dismiss()
end

--- Clear the suggestion.
function M.clear()
  it().clear()
end

function M.trigger()
  it().trigger()
end

--- Called when the model becomes ready.
function M.ready()
  if M.renderer() == 'own' then
    require('codellama.ghost').ready()
  end
end

return M
