--- Chat: send the draft of a page, and write the response below it. The server keeps the history.
local about = require('codellama.chat.about')
local blocks = require('codellama.chat.blocks')
local client = require('codellama.client')
local pages = require('codellama.chat.page')

local M = {}

local METHOD = 'codellama/chat'

---@class codellama.Talk
---@field page codellama.Page
---@field about? codellama.About
---@field client? vim.lsp.Client
---@field conversation? string
---@field request? integer
---@field token? string of the answer that is coming

---@type table<integer, codellama.Talk>
local talks = {}

---@return codellama.Talk?
local function here()
  local page = pages.of(vim.api.nvim_get_current_buf()) or pages.latest()
  return page and talks[page.bufnr]
end

local actions = {
  send = { 'n', 'send' },
  send_insert = { 'i', 'send' },
  stop = { 'n', 'stop' },
  yank = { 'n', 'yank' },
  insert = { 'n', 'insert' },
  apply = { 'n', 'apply' },
}

---@param bufnr integer
local function map(bufnr)
  local keys = require('codellama.config').options.chat_keys
  for name, action in pairs(actions) do
    if keys[name] then
      local run = ('<Cmd>lua require("codellama.chat").%s()<CR>'):format(action[2])
      vim.keymap.set(action[1], keys[name], run, { buffer = bufnr, desc = 'Code Llama: ' .. action[2] })
    end
  end
end

---@return codellama.Talk
local function new()
  local page = pages.new()
  map(page.bufnr)
  local talk = { page = page }
  talks[page.bufnr] = talk
  return talk
end

---@param talk codellama.Talk
local function show(talk)
  local win = vim.fn.bufwinid(talk.page.bufnr)
  if win == -1 then
    vim.cmd(('botright %dvsplit'):format(require('codellama.config').options.chat_width))
    vim.api.nvim_win_set_buf(0, talk.page.bufnr)
    vim.wo.wrap, vim.wo.linebreak, vim.wo.number = true, true, false
  else
    vim.api.nvim_set_current_win(win)
  end
  vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(talk.page.bufnr), 0 })
end

--- Notes shown beside a response.
---@param answer table
---@return string
local function note(answer)
  local said = {}
  for _, piece in ipairs(answer.attached) do
    said[#said + 1] = piece.title .. (piece.shortened and ' (shortened)' or '')
  end
  for _, piece in ipairs(answer.leftOut) do
    said[#said + 1] = ('without %s: %s'):format(piece.title, piece.why)
  end
  if answer.finishReason == 'length' then
    said[#said + 1] = 'cut at chat.maxTokens'
  end
  return #said > 0 and '  ' .. table.concat(said, ', ') or ''
end

---@param talk codellama.Talk
---@param answer? table
---@param stopped boolean
local function ended(talk, answer, stopped)
  client.forget(talk.token)
  talk.request, talk.token = nil, nil
  if answer then
    talk.conversation = answer.conversation
  end
  if answer or stopped then
    return pages.end_answer(talk.page, answer and answer.text, answer and note(answer) or '  stopped')
  end
  pages.take_back(talk.page)
end

--- Send a message, and stream the response into the page.
---@param talk codellama.Talk
---@param params table
local function ask(talk, params)
  local to = assert(talk.client)
  local answering = client.listen(function(partial)
    talk.conversation = partial.conversation
    pages.append(talk.page, partial.text)
  end)
  params.partialResultToken, params.workDoneToken = answering, answering .. 'w'
  params.conversation, talk.token = talk.conversation, answering
  local bufnr = talk.about and vim.api.nvim_buf_is_loaded(talk.about.bufnr) and talk.about.bufnr or nil
  talk.request = client.ask(to, METHOD, params, function(answer)
    if talk.token == answering then
      ended(talk, answer, false)
    end
  end, bufnr)
end

---@param talk codellama.Talk
---@param text string
local function say(talk, text)
  local to = client.any()
  if not to then
    return
  elseif talk.request then
    return client.say('the last message is still being answered. Wait, or run `:CodeLlama stop`.')
  end
  talk.client = to
  pages.begin_answer(talk.page, text)
  ask(talk, vim.tbl_extend('error', about.params(talk.about, to.offset_encoding), { text = text }))
end

--- Use the current file and selection as the subject.
---@param talk codellama.Talk
---@param lines? { [1]: integer, [2]: integer }
local function look(talk, lines)
  local win = about.window()
  if not win then
    return
  end
  local bufnr = vim.api.nvim_win_get_buf(win)
  if lines or not talk.about or talk.about.bufnr ~= bufnr then
    talk.about = about.new(bufnr, lines)
  end
end

--- `:CodeLlama chat`: open the last conversation, or with `anew` a new one; send the text, if given.
---@param text string
---@param lines? { [1]: integer, [2]: integer }
---@param anew boolean
function M.open(text, lines, anew)
  local talk = not anew and here() or new()
  look(talk, lines)
  show(talk)
  if text ~= '' then
    say(talk, text)
  end
end

--- `:CodeLlama explain`
---@param lines? { [1]: integer, [2]: integer }
function M.explain(lines)
  M.open('/explain', lines, true)
end

--- The command of the code action *Explain*.
---@param what { uri: string, range: lsp.Range, prompt: string }
function M.about(what)
  local talk = new()
  local first, last = what.range.start, what.range['end']
  local empty = vim.deep_equal(first, last)
  talk.about = about.new(vim.uri_to_bufnr(what.uri), not empty and { first.line + 1, last.line + 1 } or nil)
  show(talk)
  say(talk, what.prompt)
end

--- Send the draft.
function M.send()
  local talk = here()
  if not talk then
    return
  end
  local text = talk.request and '' or pages.written(talk.page)
  if text == '' then
    return
  end
  vim.cmd.stopinsert()
  if not talk.about then
    look(talk)
  end
  say(talk, text)
end

--- Stop the response; the text so far stays.
function M.stop()
  local talk = here()
  if not talk or not talk.request then
    return client.say('there is no response to stop.')
  end
  talk.client:cancel_request(talk.request)
  ended(talk, nil, true)
end

--- Regenerate the last response.
function M.again()
  local talk = here()
  if not talk or talk.request or not talk.page.answer or not talk.conversation then
    return client.say('there is no response to regenerate.')
  end
  pages.begin_again(talk.page)
  ask(talk, { regenerate = true })
end

function M.yank()
  blocks.yank()
end

function M.insert()
  blocks.insert(about.window())
end

function M.apply()
  local talk = here()
  blocks.apply(talk and talk.about)
end

--- `:CodeLlama chats`: choose a conversation of this Neovim.
function M.choose()
  local to = client.any()
  if not to then
    return
  end
  client.ask(to, METHOD .. '/list', {}, function(list)
    local known = vim.tbl_filter(function(talk)
      return vim.api.nvim_buf_is_valid(talk.page.bufnr)
    end, vim.tbl_values(talks))
    local titles = {}
    for _, one in ipairs(list or {}) do
      titles[one.conversation] = ('%s (%d)'):format(one.title, one.turns)
    end
    if #known == 0 then
      return client.say('there are no conversations yet.')
    end
    local function title(talk)
      return titles[talk.conversation] or 'new conversation'
    end
    vim.ui.select(known, { prompt = 'Code Llama, conversations', format_item = title }, function(talk)
      if talk then
        show(talk)
      end
    end)
  end)
end

return M
