--- Inline suggestions by our own renderer: request, draw, follow typing, accept.
--- There is one cursor, so there is at most one suggestion. The server debounces.
local client = require('codellama.client')
local draw = require('codellama.ghost.draw')
local item = require('codellama.ghost.item')
local popup = require('codellama.popup')

local M = {}

local METHOD = 'textDocument/inlineCompletion'
local INVOKED, AUTOMATIC = 1, 2

--- The server's items, and the position of the request.
---@class codellama.Offer
---@field from codellama.Here
---@field list codellama.Suggestion[]
---@field index integer
---@field invoked boolean
---@field shown table<string, boolean> what the server was told of
---@field hidden? boolean a menu is open

---@class codellama.Pending
---@field client vim.lsp.Client
---@field id? integer
---@field at codellama.Here

---@type codellama.Offer?
local offer
---@type codellama.Pending?
local pending
---@type codellama.Here?
local settled -- no further request at this position

---@return codellama.Here
local function place()
  local bufnr = vim.api.nvim_get_current_buf()
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local tick = vim.api.nvim_buf_get_changedtick(bufnr)
  return { bufnr = bufnr, tick = tick, row = row - 1, left = line:sub(1, column), right = line:sub(column + 1) }
end

---@param a codellama.Here?
---@param b codellama.Here
local function same(a, b)
  return a ~= nil and a.bufnr == b.bufnr and a.tick == b.tick and a.row == b.row and a.left == b.left
end

---@return boolean
local function inserting()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i'
end

---@param bufnr integer
local function wanted(bufnr)
  return inserting()
    and vim.fn.reg_recording() == ''
    and vim.fn.reg_executing() == ''
    and require('codellama.enabled').is(bufnr)
end

--- The rest of the current item at `here`.
---@param here codellama.Here
---@return string?
local function left_at(here)
  if not offer or here.bufnr ~= offer.from.bufnr or here.row < offer.from.row then
    return nil
  end
  local text = offer.list[offer.index].text
  if here.row - offer.from.row > #text then
    return nil
  end
  local between = vim.api.nvim_buf_get_lines(here.bufnr, offer.from.row, here.row, false)
  between[#between + 1] = here.left
  return item.left_of(text, offer.from, here, between)
end

local function cancel()
  if pending and pending.id then
    pending.client:cancel_request(pending.id)
  end
  pending = nil
end

--- Clear the suggestion and cancel the request.
function M.clear()
  cancel()
  if offer then
    draw.clear(offer.from.bufnr)
    offer = nil
  end
end

---@param id? string
local function tell_shown(id)
  local to = offer and client.of(offer.from.bufnr)
  if offer and to and id and not offer.shown[id] then
    offer.shown[id] = true
    to:notify('codellama/didShow', { id = id })
  end
end

---@param text string
---@param here codellama.Here
local function show(text, here)
  local current = assert(offer)
  local count = current.invoked and #current.list > 1 and (' (%d/%d)'):format(current.index, #current.list) or ''
  draw.show(text, here, count)
  current.hidden = false
  tell_shown(current.list[current.index].id)
end

--- Explain an empty result of a manual request.
local function tell_why()
  require('codellama.why').last(function(reason)
    client.say('no suggestion: ' .. reason)
  end)
end

---@param items lsp.InlineCompletionItem[]
---@param at codellama.Here
---@param invoked boolean
local function take(items, at, invoked)
  local list = {}
  for _, one in ipairs(items) do
    list[#list + 1] = item.suggestion(one, at)
  end
  settled = at
  if #list == 0 then
    return invoked and tell_why() or nil
  end
  offer = { from = at, list = list, index = 1, invoked = invoked, shown = {} }
  if popup.visible() and require('codellama.config').options.popup == 'hide' then
    offer.hidden = true
    return
  end
  show(list[1].text, at)
end

---@param at codellama.Here
---@param kind integer
---@param answered? fun() once an offer is there
local function ask(at, kind, answered)
  local to = client.of(at.bufnr)
  if not to then
    return
  end
  cancel()
  local params = vim.lsp.util.make_position_params(0, to.offset_encoding) --[[@as table]]
  params.context = { triggerKind = kind }
  local began, mine = vim.uv.hrtime(), { client = to, at = at }
  pending = mine
  local _, id = to:request(METHOD, params, function(err, result)
    if pending ~= mine then
      return
    end
    pending = nil
    if err or not inserting() or not same(at, place()) then
      return
    end
    require('codellama.status').answered((vim.uv.hrtime() - began) / 1e6)
    local before = offer
    offer = nil
    take(result and result.items or result or {}, at, kind == INVOKED)
    offer = offer or answered and before or nil
    if answered then
      answered()
    end
  end, at.bufnr)
  mine.id = id
end

--- Update after typing, cursor movement, or a change of the completion menu.
function M.update()
  local here = place()
  if not wanted(here.bufnr) then
    return M.clear()
  end
  local left = left_at(here)
  if popup.visible() and require('codellama.config').options.popup == 'hide' then
    cancel()
    draw.clear(here.bufnr)
    if offer and left and left ~= '' then
      offer.hidden = true
    else
      offer = nil
    end
    return
  end
  if left and left ~= '' then
    return show(left, here)
  end
  if same(settled, here) or (pending and same(pending.at, here)) then
    return
  end
  M.clear()
  settled = nil
  ask(here, AUTOMATIC)
end

--- The visible text, if any.
---@return string?, codellama.Here
local function on_screen()
  local here = place()
  local left = inserting() and offer and not offer.hidden and left_at(here) or nil
  return left ~= '' and left or nil, here
end

---@return boolean
function M.visible()
  return on_screen() ~= nil
end

--- Insert the suggestion or a part of it. The insertion is one undo step and repeats with `.`.
---@param part 'all'|'word'|'line'
---@return boolean
function M.accept(part)
  local text, here = on_screen()
  if not text or not offer then
    return false
  end
  local taken = item.part(text, part)
  local id, to = offer.list[offer.index].id, client.of(here.bufnr)
  local whole = taken == text
  if whole then
    M.clear()
  end
  vim.api.nvim_paste(taken, false, -1)
  if to and id then
    to:notify(whole and 'codellama/didAccept' or 'codellama/didPartiallyAccept', { id = id })
  end
  return true
end

---@param by integer
local function turn(by)
  if not offer then
    return
  end
  offer.index = (offer.index - 1 + by) % #offer.list + 1
  local here = place()
  local left = left_at(here)
  if left and left ~= '' then
    show(left, here)
  end
end

--- Show another suggestion. The first call requests alternatives.
---@param by integer
function M.cycle(by)
  if not offer or offer.invoked then
    return turn(by)
  end
  local text, here = on_screen()
  if not text then
    return
  end
  ask(here, INVOKED, function()
    if offer and #offer.list > 1 and offer.list[1].text == text then
      turn(by)
    end
  end)
end

--- Dismiss the suggestion until the next typed character.
function M.dismiss()
  M.clear()
  settled = place()
end

--- Request suggestions by hand: several, with a longer deadline.
function M.trigger()
  M.clear()
  ask(place(), INVOKED)
end

--- Called when a menu opens or closes, and when insert mode begins.
function M.changed()
  if inserting() then
    M.update()
  end
end

--- Called when the model becomes ready: request a suggestion in insert mode.
function M.ready()
  if inserting() and not offer and not pending then
    settled = nil
    M.update()
  end
end

return M
