--- Highlight groups: default links that a colour scheme or the user can override.
local M = {}

local links = {
  CodeLlamaGhost = { 'ComplHint', 'Comment' },
  CodeLlamaGhostMore = { 'ComplHintMore', 'NonText' },
  CodeLlamaRemoved = { 'DiffDelete' },
  CodeLlamaAdded = { 'DiffAdd' },
  CodeLlamaAddedText = { 'DiffText' },
  CodeLlamaHint = { 'NonText' },
}

local function define()
  for name, candidates in pairs(links) do
    for _, target in ipairs(candidates) do
      if vim.fn.hlexists(target) == 1 then
        vim.api.nvim_set_hl(0, name, { link = target, default = true })
        break
      end
    end
  end
end

--- Set the links now and after each colour scheme: `:hi clear` removes links.
function M.define()
  define()
  vim.api.nvim_create_autocmd('ColorScheme', {
    group = vim.api.nvim_create_augroup('codellama.highlights', {}),
    callback = define,
  })
end

return M
