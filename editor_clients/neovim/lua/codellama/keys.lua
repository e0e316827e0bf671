--- Keys in insert mode. Without a suggestion, each key runs its previous mapping.
local suggesting = require('codellama.suggesting')

local M = {}

--- Previous mappings that must run outside of an `expr` mapping.
---@type table<string, fun()>
local callbacks = {}

---@param keys string
---@return string
local function codes(keys)
  return vim.api.nvim_replace_termcodes(keys, true, true, true)
end

--- Run the previous mapping of a key.
---@param lhs string
function M.fall(lhs)
  callbacks[lhs]()
end

--- The previous mapping as keys to return from an `expr` mapping.
---@param before table as `maparg` gives it; empty where there was none
---@param lhs string
---@return string
local function fallen(before, lhs)
  if vim.tbl_isempty(before) then
    return codes(lhs)
  end
  if before.expr == 1 then
    local keys = before.callback and before.callback() or before.rhs and vim.api.nvim_eval(before.rhs) or ''
    return before.replace_keycodes == 1 and codes(keys) or keys
  end
  if before.callback then
    callbacks[lhs] = before.callback
    return codes(('<Cmd>lua require("codellama.keys").fall(%q)<CR>'):format(lhs:gsub('<', '<lt>')))
  end
  vim.api.nvim_feedkeys(codes(before.rhs), before.noremap == 1 and 'ni' or 'mi', false)
  return ''
end

---@param lhs string
---@param name string
---@param action { run: string, can: fun(): boolean }
local function map(lhs, name, action)
  local before = vim.fn.maparg(lhs, 'i', false, true)
  if before.buffer == 1 then
    before = {}
  end
  vim.keymap.set('i', lhs, function()
    return action.can() and codes(action.run) or fallen(before, lhs)
  end, { expr = true, replace_keycodes = false, desc = 'Code Llama: ' .. name })
end

--- Define the `<Plug>` mappings.
---@type table<string, { run: string, can: fun(): boolean }>
local actions = {
  accept = {
    run = '<C-g>u<Cmd>lua require("codellama.suggesting").accept("all")<CR>',
    can = function()
      return suggesting.acceptable('all')
    end,
  },
  accept_word = {
    run = '<C-g>u<Cmd>lua require("codellama.suggesting").accept("word")<CR>',
    can = function()
      return suggesting.acceptable('word')
    end,
  },
  accept_line = {
    run = '<C-g>u<Cmd>lua require("codellama.suggesting").accept("line")<CR>',
    can = function()
      return suggesting.acceptable('line')
    end,
  },
  next = { run = '<Cmd>lua require("codellama.suggesting").cycle(1)<CR>', can = suggesting.visible },
  previous = { run = '<Cmd>lua require("codellama.suggesting").cycle(-1)<CR>', can = suggesting.visible },
  dismiss = { run = '<Cmd>lua require("codellama.suggesting").dismiss()<CR>', can = suggesting.visible },
  trigger = {
    run = '<Cmd>lua require("codellama.suggesting").trigger()<CR>',
    can = function()
      return require('codellama.client').of(0) ~= nil
    end,
  },
}

--- Define `<Plug>` mappings of tasks in normal mode (the definition at the cursor) and visual mode (the selection).
local function map_commands()
  for _, name in ipairs({ 'edit', 'fix', 'doc', 'types', 'tests', 'simplify', 'explain', 'chat' }) do
    local lhs = ('<Plug>(codellama-%s)'):format(name)
    vim.keymap.set(
      { 'n', 'x' },
      lhs,
      (':CodeLlama %s<CR>'):format(name),
      { silent = true, desc = 'Code Llama: ' .. name }
    )
  end
end

---@type table<string, string>
local mapped = {}

--- Map the keys of the options, and undo the mappings of an earlier call.
function M.map()
  for lhs in pairs(mapped) do
    pcall(vim.keymap.del, 'i', lhs)
  end
  mapped = {}
  map_commands()
  local keys = require('codellama.config').options.keys
  for name, action in pairs(actions) do
    local plug = name:gsub('_', '-')
    vim.keymap.set('i', ('<Plug>(codellama-%s)'):format(plug), action.run, { desc = 'Code Llama: ' .. name })
    local lhs = keys[name]
    if lhs then
      map(lhs, name, action)
      mapped[lhs] = name
    end
  end
end

return M
