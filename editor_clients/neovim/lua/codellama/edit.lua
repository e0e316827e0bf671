--- Edits by instruction (`codellama/edit`): drawn while the model writes, accepted hunk by hunk.
local client = require('codellama.client')
local place = require('codellama.place')
local proposals = require('codellama.proposal')

local M = {}

local METHOD = 'codellama/edit'

---@type table<codellama.Proposal, { client: vim.lsp.Client, id: string, request?: integer, token?: string }>
local sessions = setmetatable({}, { __mode = 'k' })
local count = 0

---@param proposal codellama.Proposal
---@param answer? { hunks: table[], message: string }
local function take(proposal, answer)
  if answer and answer.message and answer.message ~= '' then
    client.say(answer.message)
  end
  proposals.show(proposal, answer and answer.hunks or {}, true)
end

--- Send a request, and draw its partial results.
---@param proposal codellama.Proposal
---@param method string
---@param params table
local function ask(proposal, method, params)
  local session = sessions[proposal]
  local drawing = client.listen(function(partial)
    proposals.show(proposal, partial.hunks)
  end)
  params =
    vim.tbl_extend('error', params, { id = session.id, partialResultToken = drawing, workDoneToken = drawing .. 'w' })
  session.token = drawing
  session.request = client.ask(session.client, method, params, function(answer)
    client.forget(drawing)
    session.request = nil
    take(proposal, answer)
  end, proposal.bufnr)
end

---@param proposal codellama.Proposal
---@param verb 'accept'|'reject'
---@param hunk? codellama.Hunk
local function decide(proposal, verb, hunk)
  local session = sessions[proposal]
  if session.request then
    return client.say('the proposal is still being written. Wait, or run `:CodeLlama cancel`.')
  end
  local params = { id = session.id, hunk = hunk and hunk.id }
  client.ask(session.client, ('%s/%s'):format(METHOD, verb), params, function(answer, failed)
    if not failed then
      take(proposal, answer)
    end
  end, proposal.bufnr)
end

---@param to vim.lsp.Client
---@param bufnr integer
---@return codellama.Proposal
local function begin(to, bufnr)
  count = count + 1
  local proposal
  local session = { client = to, id = ('nvim-%d-%d'):format(vim.fn.getpid(), count) }
  proposal = proposals.begin({
    bufnr = bufnr,
    encoding = to.offset_encoding,
    hunks = {},
    take = function(hunk)
      decide(proposal, 'accept', hunk)
    end,
    refuse = function(hunk)
      decide(proposal, 'reject', hunk)
    end,
    give_up = function()
      if session.request then
        to:cancel_request(session.request)
        client.forget(session.token)
      end
      to:request(METHOD .. '/cancel', { id = session.id }, function() end, bufnr)
    end,
  })
  sessions[proposal] = session
  return proposal
end

--- Ask for an instruction if none was given.
---@param text string
---@param prompt string
---@param given fun(text: string)
local function instructed(text, prompt, given)
  if text ~= '' then
    return given(text)
  end
  vim.ui.input({ prompt = prompt }, function(answer)
    if answer and answer:find('%S') then
      given(answer)
    end
  end)
end

---@param text string
---@param range lsp.Range
local function start(text, range)
  local bufnr = vim.api.nvim_get_current_buf()
  local to = client.any()
  if not to then
    return
  end
  instructed(text, 'Code Llama, edit: ', function(instruction)
    local params = { textDocument = { uri = vim.uri_from_bufnr(bufnr) }, range = range, instruction = instruction }
    ask(begin(to, bufnr), METHOD, params)
  end)
end

--- `:CodeLlama edit`: edit the lines of a range, or the definition at the cursor.
---@param text string
---@param lines? { [1]: integer, [2]: integer }
function M.edit(text, lines)
  local to = client.any()
  if to then
    start(text, place.range(lines, to.offset_encoding))
  end
end

--- The code action *Edit with instruction*.
---@param where { uri: string, range: lsp.Range }
function M.at(where)
  if vim.uri_to_bufnr(where.uri) == vim.api.nvim_get_current_buf() then
    start('', where.range)
  end
end

--- `:CodeLlama refine`: follow up on the proposal with another instruction.
---@param text string
function M.refine(text)
  local proposal = proposals.here()
  if not proposal or not sessions[proposal] or sessions[proposal].request then
    return client.say('there is no edit to refine here.')
  end
  instructed(text, 'Code Llama, refine: ', function(instruction)
    ask(proposal, METHOD .. '/followUp', { instruction = instruction })
  end)
end

return M
