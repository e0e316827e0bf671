--- Whoever draws suggestions: our own renderer, or the one that Neovim has from 0.12 on. The same questions for both.
local M = {}

--- What is used; Neovim's own only where there is one.
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

--- Can only a part of it be taken?
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

--- Nothing is shown any more.
function M.clear()
  it().clear()
end

function M.trigger()
  it().trigger()
end

--- The model has become ready.
function M.ready()
  if M.renderer() == 'own' then
    require('codellama.ghost').ready()
  end
end

return M
