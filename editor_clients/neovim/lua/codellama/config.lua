--- Options and their defaults.
local M = {}

---@class codellama.Keys
---@field accept string|false take all of a suggestion
---@field accept_word string|false
---@field accept_line string|false
---@field next string|false another suggestion
---@field previous string|false
---@field dismiss string|false
---@field trigger string|false ask for a suggestion by hand

---@class codellama.ProposalKeys
---@field accept string|false take the change under the cursor
---@field accept_all string|false
---@field reject string|false
---@field reject_all string|false
---@field next string|false go to the next change
---@field previous string|false

---@class codellama.ChatKeys
---@field send string|false
---@field send_insert string|false the same in insert mode
---@field stop string|false
---@field yank string|false yank the code block under the cursor
---@field insert string|false insert it at the cursor of the code's window
---@field apply string|false put it in the place of what the question was about

---@class codellama.Options
---@field cmd string[]|false how to start the language server; false: find it
---@field settings table the server's settings, as its README lists them
---@field filetypes table<string, boolean> filetypes without suggestions: `{ markdown = false }`
---@field renderer 'own'|'builtin' who draws suggestions; `builtin` needs Neovim 0.12
---@field popup 'hide'|'show' what becomes of a suggestion while a completion menu is open
---@field keys codellama.Keys
---@field proposal_keys codellama.ProposalKeys
---@field chat_keys codellama.ChatKeys
---@field chat_width integer columns of the chat's window

---@type codellama.Options
local defaults = {
  cmd = false,
  settings = {},
  filetypes = {},
  renderer = 'own',
  popup = 'hide',
  keys = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-C-Right>',
    next = '<M-]>',
    previous = '<M-[>',
    dismiss = '<C-]>',
    trigger = '<M-\\>',
  },
  proposal_keys = {
    accept = '<LocalLeader>a',
    accept_all = '<LocalLeader>A',
    reject = '<LocalLeader>r',
    reject_all = '<LocalLeader>R',
    next = ']h',
    previous = '[h',
  },
  chat_keys = { send = '<CR>', send_insert = '<C-s>', stop = '<C-c>', yank = 'gy', insert = 'gi', apply = 'ga' },
  chat_width = 80,
}

---@type codellama.Options
M.options = vim.deepcopy(defaults)

local choices = { renderer = { 'own', 'builtin' }, popup = { 'hide', 'show' } }

---@param name string
---@param value any
---@return string? problem
local function problem(name, value)
  local default = defaults[name]
  if default == nil then
    return ("unknown option '%s'"):format(name)
  end
  if name == 'cmd' then
    return (value ~= false and not vim.islist(value)) and "'cmd' must be a list of words, or false" or nil
  end
  if type(value) ~= type(default) then
    return ("'%s' must be a %s"):format(name, type(default))
  end
  if choices[name] and not vim.list_contains(choices[name], value) then
    return ("'%s' must be one of: %s"):format(name, table.concat(choices[name], ', '))
  end
end

--- Merge the user's options. Invalid ones are reported and keep their default.
---@param given? table
---@return string[] problems
function M.set(given)
  local problems, kept = {}, {}
  for name, value in pairs(given or {}) do
    local wrong = problem(name, value)
    if wrong then
      problems[#problems + 1] = wrong
    else
      kept[name] = value
    end
  end
  M.options = vim.tbl_deep_extend('force', vim.deepcopy(defaults), kept)
  return problems
end

return M
