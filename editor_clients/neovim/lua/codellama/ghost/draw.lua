--- Draw a suggestion as virtual text.
local expanded = require('codellama.tabs').expanded

local M = {}

local namespace = vim.api.nvim_create_namespace('codellama.ghost')

--- With several lines and text right of the cursor, that text moves behind the last line, so the first line covers it.
---@param first string
---@param here codellama.Here
---@return string
local function covering(first, here)
  local width = vim.fn.strdisplaywidth(here.left .. here.right) - vim.fn.strdisplaywidth(here.left)
  return first .. (' '):rep(width - vim.fn.strdisplaywidth(first))
end

---@param text string
---@param here codellama.Here
---@param more string what to say behind it
function M.show(text, here, more)
  local tabstop = vim.bo[here.bufnr].tabstop
  local lines = vim.split(text, '\n', { plain = true })
  local moved = #lines > 1 and here.right:find('%S') ~= nil
  local first = expanded(lines[1], vim.fn.strdisplaywidth(here.left), tabstop)
  if moved then
    first = covering(first, here)
    lines[#lines] = lines[#lines] .. here.right
  end
  local below = {}
  for n = 2, #lines do
    below[#below + 1] = { { expanded(lines[n], 0, tabstop), 'CodeLlamaGhost' } }
  end
  local at_end = #below > 0 and below[#below] or nil
  local chunks = { { first, 'CodeLlamaGhost' } }
  if more ~= '' then
    table.insert(at_end or chunks, { more, 'CodeLlamaGhostMore' })
  end
  M.clear(here.bufnr)
  vim.api.nvim_buf_set_extmark(here.bufnr, namespace, here.row, #here.left, {
    virt_text = chunks,
    virt_text_pos = moved and 'overlay' or 'inline',
    virt_lines = #below > 0 and below or nil,
    hl_mode = 'combine',
  })
end

---@param bufnr integer
function M.clear(bufnr)
  if vim.api.nvim_buf_is_valid(bufnr) then
    vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
