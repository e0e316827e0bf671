--- Proposed changes: draw them, navigate, accept or reject one or all.
--- The caller provides the function that applies a change.
local draw = require('codellama.proposal.draw')
local place = require('codellama.place')

local M = {}

---@class codellama.Proposal
---@field bufnr integer
---@field encoding 'utf-8'|'utf-16'|'utf-32'
---@field hunks codellama.Hunk[] in order
---@field take fun(hunk?: codellama.Hunk) one of them, or all
---@field refuse fun(hunk?: codellama.Hunk)
---@field give_up fun()

---@type codellama.Proposal[]
local open = {}
---@type table<integer, true> buffers that have keys for it
local keyed = {}

---@param text string
local function say(text)
  require('codellama.client').say(text)
end

---@param bufnr integer
---@return codellama.Proposal[]
local function of(bufnr)
  return vim.tbl_filter(function(one)
    return one.bufnr == bufnr
  end, open)
end

local actions = {
  accept = '<Cmd>CodeLlama accept<CR>',
  accept_all = '<Cmd>CodeLlama! accept<CR>',
  reject = '<Cmd>CodeLlama reject<CR>',
  reject_all = '<Cmd>CodeLlama! reject<CR>',
  next = '<Cmd>lua require("codellama.proposal").go(1)<CR>',
  previous = '<Cmd>lua require("codellama.proposal").go(-1)<CR>',
}

---@param bufnr integer
local function keys(bufnr)
  local wanted = #of(bufnr) > 0
  if wanted == (keyed[bufnr] == true) or not vim.api.nvim_buf_is_valid(bufnr) then
    return
  end
  keyed[bufnr] = wanted or nil
  for name, lhs in pairs(require('codellama.config').options.proposal_keys) do
    if lhs and wanted then
      vim.keymap.set('n', lhs, actions[name], { buffer = bufnr, desc = 'Code Llama: ' .. name })
    elseif lhs then
      pcall(vim.keymap.del, 'n', lhs, { buffer = bufnr })
    end
  end
end

---@return string
local function hint()
  local names, leader = require('codellama.config').options.proposal_keys, vim.g.maplocalleader or '\\'
  local said = {}
  for _, name in ipairs({ 'accept', 'reject', 'accept_all', 'reject_all' }) do
    if names[name] then
      said[#said + 1] = names[name]:gsub('<[Ll]ocal[Ll]eader>', leader) .. ' ' .. name:gsub('_', ' ')
    end
  end
  return '  ' .. table.concat(said, '  ')
end

--- Create an empty proposal.
---@param proposal codellama.Proposal
---@return codellama.Proposal
function M.begin(proposal)
  open[#open + 1] = proposal
  keys(proposal.bufnr)
  return proposal
end

---@param proposal codellama.Proposal
function M.close(proposal)
  M.show(proposal, {})
  open = vim.tbl_filter(function(one)
    return one ~= proposal
  end, open)
  keys(proposal.bufnr)
end

--- Replace the drawn hunks. A `final` proposal without hunks ends.
---@param proposal codellama.Proposal
---@param hunks { id: integer, range: lsp.Range, newText: string }[]
---@param final? boolean
function M.show(proposal, hunks, final)
  local bufnr = proposal.bufnr
  if not vim.api.nvim_buf_is_loaded(bufnr) then
    return
  end
  for _, hunk in ipairs(proposal.hunks) do
    draw.remove(bufnr, hunk)
  end
  proposal.hunks = {}
  for _, hunk in ipairs(hunks) do
    local row, column = place.bytes(bufnr, hunk.range.start, proposal.encoding)
    local last, stop = place.bytes(bufnr, hunk.range['end'], proposal.encoding)
    local span = { row = row, column = column, last = last, stop = stop }
    table.insert(proposal.hunks, draw.hunk(bufnr, hunk.id, span, hunk.newText))
  end
  draw.redraw(bufnr, proposal.hunks)
  if final and #hunks > 0 then
    draw.hint(bufnr, proposal.hunks[1], hint())
  elseif final then
    M.close(proposal)
  end
end

--- Accept or reject one hunk, or all.
---@param proposal codellama.Proposal
---@param hunk? codellama.Hunk
function M.decided(proposal, hunk)
  if not hunk or #proposal.hunks == 1 then
    return M.close(proposal)
  end
  draw.remove(proposal.bufnr, hunk)
  proposal.hunks = vim.tbl_filter(function(one)
    return one ~= hunk
  end, proposal.hunks)
  draw.redraw(proposal.bufnr, proposal.hunks)
end

--- The hunk on the cursor's line, or the only one.
---@return codellama.Proposal?, codellama.Hunk?
local function under_cursor()
  local bufnr, row = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)[1] - 1
  local only, owner, count = nil, nil, 0
  for _, proposal in ipairs(of(bufnr)) do
    for _, hunk in ipairs(proposal.hunks) do
      local span = draw.span(bufnr, hunk)
      if span.row <= row and row <= span.last then
        return proposal, hunk
      end
      only, owner, count = hunk, proposal, count + 1
    end
  end
  if count == 1 then
    return owner, only
  end
end

--- The proposal under the cursor, or the only one in the buffer.
---@return codellama.Proposal?
function M.here()
  local all = of(vim.api.nvim_get_current_buf())
  return (under_cursor()) or #all == 1 and all[1] or nil
end

---@param all boolean
---@param act fun(proposal: codellama.Proposal, hunk?: codellama.Hunk)
local function decide(all, act)
  local proposals = of(vim.api.nvim_get_current_buf())
  if #proposals == 0 then
    return say('there is no proposal in this buffer.')
  end
  if all then
    return vim.iter(proposals):each(act)
  end
  local proposal, hunk = under_cursor()
  if not proposal or not hunk then
    return say('there is no change on this line. `:CodeLlama! accept` and `:CodeLlama! reject` apply to all.')
  end
  act(proposal, hunk)
end

---@param all boolean
function M.accept(all)
  decide(all, function(proposal, hunk)
    proposal.take(hunk)
  end)
end

---@param all boolean
function M.reject(all)
  decide(all, function(proposal, hunk)
    proposal.refuse(hunk)
  end)
end

--- Cancel everything active or proposed here.
function M.cancel()
  for _, proposal in ipairs(of(vim.api.nvim_get_current_buf())) do
    proposal.give_up()
    M.close(proposal)
  end
end

--- Move the cursor to the next or previous hunk.
---@param by 1|-1
function M.go(by)
  local bufnr, row = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)[1] - 1
  local rows = {}
  for _, proposal in ipairs(of(bufnr)) do
    for _, hunk in ipairs(proposal.hunks) do
      rows[#rows + 1] = draw.span(bufnr, hunk).row
    end
  end
  table.sort(rows)
  local found = vim.iter(by > 0 and rows or vim.iter(rows):rev():totable()):find(function(one)
    return (one - row) * by > 0
  end)
  if found then
    vim.api.nvim_win_set_cursor(0, { math.min(found + 1, vim.api.nvim_buf_line_count(bufnr)), 0 })
  end
end

return M
