--- `:CodeLlama`: subcommands and their completion.
local M = {}

---@class codellama.Call
---@field text string what stands behind the subcommand
---@field words string[]
---@field bang boolean
---@field range? { [1]: integer, [2]: integer } one-based lines, where a range was given

local SCOPES = { 'buffer', 'filetype' }

---@param call codellama.Call
---@param on? boolean
local function switch(call, on)
  local scope = vim.list_contains(SCOPES, call.words[1]) and call.words[1] or 'global'
  require('codellama.client').say(require('codellama.enabled').switch(scope, on))
  require('codellama.suggesting').clear()
  vim.cmd.redrawstatus()
end

---@param name string
local function task(name)
  return function(call)
    require('codellama.tasks').run(name, call.range)
  end
end

---@type table<string, fun(call: codellama.Call)>
local commands = {
  edit = function(call)
    require('codellama.edit').edit(call.text, call.range)
  end,
  refine = function(call)
    require('codellama.edit').refine(call.text)
  end,
  accept = function(call)
    require('codellama.proposal').accept(call.bang)
  end,
  reject = function(call)
    require('codellama.proposal').reject(call.bang)
  end,
  cancel = function()
    require('codellama.proposal').cancel()
  end,
  fix = task('fix'),
  doc = task('document'),
  types = task('types'),
  tests = task('tests'),
  simplify = task('simplify'),
  todo = task('todo'),
  explain = function(call)
    require('codellama.chat').explain(call.range)
  end,
  chat = function(call)
    require('codellama.chat').open(call.text, call.range, call.bang)
  end,
  chats = function()
    require('codellama.chat').choose()
  end,
  stop = function()
    require('codellama.chat').stop()
  end,
  again = function()
    require('codellama.chat').again()
  end,
  commit = function()
    require('codellama.commit').write()
  end,
  why = function()
    require('codellama.why').show()
  end,
  status = function()
    require('codellama.overview').status()
  end,
  stats = function()
    require('codellama.overview').stats()
  end,
  log = function()
    require('codellama.overview').log()
  end,
  restart = function()
    require('codellama.overview').restart()
  end,
  toggle = switch,
  enable = function(call)
    switch(call, true)
  end,
  disable = function(call)
    switch(call, false)
  end,
}

---@param call vim.api.keyset.create_user_command.command_args
function M.run(call)
  require('codellama').start()
  local name, text = call.args:match('^(%S*)%s*(.-)%s*$')
  local command = commands[name == '' and 'status' or name]
  if not command then
    local known = table.concat(M.complete('', 'CodeLlama '), ', ')
    return require('codellama.client').say(("unknown command '%s'. Commands: %s."):format(name, known))
  end
  command({
    text = text,
    words = vim.split(text, '%s+', { trimempty = true }),
    bang = call.bang,
    range = call.range > 0 and { call.line1, call.line2 } or nil,
  })
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local first = line:match('CodeLlama!?%s+(%S+)%s')
  local choices = vim.tbl_keys(commands)
  if first then
    choices = vim.list_contains({ 'toggle', 'enable', 'disable' }, first) and SCOPES or {}
  end
  table.sort(choices)
  return vim.tbl_filter(function(choice)
    return vim.startswith(choice, lead)
  end, choices)
end

return M
