--- Named tasks (fix, document, ...): the server's code actions, previewed like edits.
local client = require('codellama.client')
local place = require('codellama.place')
local proposals = require('codellama.proposal')

local M = {}

--- Apply a hunk at its current position, if the text that it replaces is unchanged.
---@param proposal codellama.Proposal
---@param hunk codellama.Hunk
---@param old string
local function apply(proposal, hunk, old)
  local span = require('codellama.proposal.draw').span(proposal.bufnr, hunk)
  local bufnr, count = proposal.bufnr, vim.api.nvim_buf_line_count(proposal.bufnr)
  local text = hunk.text
  if span.last >= count then -- after the end of the last line, which is no valid position in Neovim
    span.last, span.stop = count - 1, #vim.api.nvim_buf_get_lines(bufnr, -2, -1, false)[1]
    text, old = text:gsub('\n$', ''), old:gsub('\n$', '')
    if span.row >= count then
      span.row, span.column, text = span.last, span.stop, '\n' .. text
    end
  end
  local now = vim.api.nvim_buf_get_text(bufnr, span.row, span.column, span.last, span.stop, {})
  if table.concat(now, '\n') ~= old then
    return client.say('these lines have changed; the edit was not applied.')
  end
  vim.api.nvim_buf_set_text(bufnr, span.row, span.column, span.last, span.stop, vim.split(text, '\n', { plain = true }))
end

---@param bufnr integer
---@param edit lsp.TextEdit
---@param encoding string
local function text_of(bufnr, edit, encoding)
  local row, column = place.bytes(bufnr, edit.range.start, encoding)
  local last, stop = place.bytes(bufnr, edit.range['end'], encoding)
  local count = vim.api.nvim_buf_line_count(bufnr)
  if row >= count then
    return ''
  elseif last >= count then
    local lines = vim.api.nvim_buf_get_text(bufnr, row, column, -1, -1, {})
    return table.concat(lines, '\n') .. '\n'
  end
  return table.concat(vim.api.nvim_buf_get_text(bufnr, row, column, last, stop, {}), '\n')
end

---@param to vim.lsp.Client
---@param bufnr integer
---@param edits lsp.TextEdit[]
local function propose(to, bufnr, edits)
  local proposal
  local hunks, old = {}, {}
  for n, edit in ipairs(edits) do
    hunks[n] = { id = n, range = edit.range, newText = edit.newText }
    old[n] = text_of(bufnr, edit, to.offset_encoding)
  end
  table.sort(hunks, function(a, b)
    local x, y = a.range.start, b.range.start
    return x.line < y.line or x.line == y.line and x.character < y.character
  end)
  local function each(hunk, act)
    for _, one in ipairs(hunk and { hunk } or vim.iter(vim.deepcopy(proposal.hunks)):rev():totable()) do
      act(one)
    end
  end
  proposal = proposals.begin({
    bufnr = bufnr,
    encoding = to.offset_encoding,
    hunks = {},
    take = function(hunk)
      each(hunk, function(one)
        apply(proposal, one, old[one.id])
      end)
      proposals.decided(proposal, hunk)
    end,
    refuse = function(hunk)
      proposals.decided(proposal, hunk)
    end,
    give_up = function() end,
  })
  proposals.show(proposal, hunks, true)
end

--- The text edits of one document, or nil if the action creates a file.
---@param edit lsp.WorkspaceEdit
---@return lsp.TextEdit[]?
local function edits_of(edit)
  if edit.changes then
    return select(2, next(edit.changes))
  end
  local only = edit.documentChanges
  return #only == 1 and only[1].edits or nil
end

--- Open the new file in a split.
---@param edit lsp.WorkspaceEdit
---@param encoding string
local function create(edit, encoding)
  for _, change in ipairs(edit.documentChanges) do
    for _, one in ipairs(change.edits or {}) do
      one.annotationId = nil -- requested and previewed by the user
    end
  end
  vim.lsp.util.apply_workspace_edit(edit, encoding)
  vim.cmd.split(vim.fn.fnameescape(vim.uri_to_fname(edit.documentChanges[1].uri)))
end

---@param to vim.lsp.Client
---@param bufnr integer
---@param action lsp.CodeAction
local function resolve(to, bufnr, action)
  client.ask(to, 'codeAction/resolve', action, function(resolved)
    local edit = resolved and resolved.edit
    if not edit or not vim.api.nvim_buf_is_loaded(bufnr) then
      return -- the server has shown the reason
    end
    local edits = edits_of(edit)
    if edits then
      propose(to, bufnr, edits)
    else
      create(edit, to.offset_encoding)
    end
  end, bufnr)
end

---@param name string
---@param actions lsp.CodeAction[]
---@return lsp.CodeAction[]
local function named(name, actions)
  return vim.tbl_filter(function(action)
    return type(action.data) == 'table' and action.data.task == name
  end, actions)
end

--- `:CodeLlama fix` and the other tasks.
---@param name string the server's name of the task
---@param lines? { [1]: integer, [2]: integer }
function M.run(name, lines)
  local bufnr = vim.api.nvim_get_current_buf()
  local to = client.any()
  if not to then
    return
  end
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(bufnr) },
    range = place.range(lines, to.offset_encoding),
    context = { diagnostics = {}, triggerKind = 1 }, -- the client adds the diagnostics
  }
  client.ask(to, 'textDocument/codeAction', params, function(actions)
    local found = named(name, actions or {})
    if #found == 0 then
      local why = name == 'fix' and 'there is no diagnostic on this line.' or 'this action is not available here.'
      return client.say(why)
    elseif #found == 1 then
      return resolve(to, bufnr, found[1])
    end
    local function title(action)
      return action.title
    end
    vim.ui.select(found, { prompt = 'Code Llama', format_item = title }, function(chosen)
      if chosen then
        resolve(to, bufnr, chosen)
      end
    end)
  end, bufnr)
end

return M
