--- The colours, all links that a colour scheme or a person may define otherwise.
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

--- Now and with each colour scheme: one that begins with `:hi clear` forgets links.
function M.define()
  define()
  vim.api.nvim_create_autocmd('ColorScheme', {
    group = vim.api.nvim_create_augroup('codellama.highlights', {}),
    callback = define,
  })
end

return M
