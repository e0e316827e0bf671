--- The page of a conversation: a Markdown buffer that grows at its end.
---
--- It ends with a heading and the user's draft below it, except while a response arrives.
local M = {}

local YOU, MODEL = '## You', '## Code Llama'
local namespace = vim.api.nvim_create_namespace('codellama.chat')

---@class codellama.Page
---@field bufnr integer
---@field input integer row where what the person writes begins
---@field answer? integer row where the last answer begins
---@field asked? string the last question
---@field draft? string what the person was writing when an answer was asked for anew

---@type table<integer, codellama.Page>
local pages = {}
local count = 0

---@param page codellama.Page
---@param first integer
---@param last integer
---@param lines string[]
local function set(page, first, last, lines)
  vim.bo[page.bufnr].modifiable = true
  vim.api.nvim_buf_set_lines(page.bufnr, first, last, false, lines)
  vim.bo[page.bufnr].modified = false
end

--- Keep windows that show the end scrolled to the end.
---@param page codellama.Page
---@param change fun()
local function following(page, change)
  local last = vim.api.nvim_buf_line_count(page.bufnr)
  local at_end = vim.tbl_filter(function(win)
    return vim.api.nvim_win_get_cursor(win)[1] == last
  end, vim.fn.win_findbuf(page.bufnr))
  change()
  for _, win in ipairs(at_end) do
    vim.api.nvim_win_set_cursor(win, { vim.api.nvim_buf_line_count(page.bufnr), 0 })
  end
end

--- Create a page without a window.
---@return codellama.Page
function M.new()
  count = count + 1
  local bufnr = vim.api.nvim_create_buf(true, true)
  vim.api.nvim_buf_set_name(bufnr, ('codellama://chat/%d'):format(count))
  vim.bo[bufnr].buftype = 'nofile'
  vim.bo[bufnr].bufhidden = 'hide'
  vim.bo[bufnr].swapfile = false
  vim.bo[bufnr].filetype = 'markdown'
  vim.bo[bufnr].omnifunc = "v:lua.require'codellama.chat.mentions'.omnifunc"
  local page = { bufnr = bufnr, input = 2 }
  set(page, 0, -1, { YOU, '', '' })
  pages[bufnr] = page
  return page
end

---@param bufnr integer
---@return codellama.Page?
function M.of(bufnr)
  return pages[bufnr]
end

--- The most recently used page, if any.
---@return codellama.Page?
function M.latest()
  local latest
  for bufnr, page in pairs(pages) do
    if not vim.api.nvim_buf_is_valid(bufnr) then
      pages[bufnr] = nil
    elseif not latest or vim.fn.getbufinfo(bufnr)[1].lastused >= vim.fn.getbufinfo(latest.bufnr)[1].lastused then
      latest = page
    end
  end
  return latest
end

--- The user's unsent draft.
---@param page codellama.Page
---@return string
function M.written(page)
  return vim.trim(table.concat(vim.api.nvim_buf_get_lines(page.bufnr, page.input, -1, false), '\n'))
end

--- Replace the draft.
---@param page codellama.Page
---@param text string
function M.write(page, text)
  set(page, page.input, -1, vim.split(text, '\n', { plain = true }))
end

--- Begin a response: the page ends with it and is read-only.
---@param page codellama.Page
---@param text string
function M.begin_answer(page, text)
  local question = vim.split(text, '\n', { plain = true })
  following(page, function()
    set(page, page.input, -1, vim.list_extend(question, { '', MODEL, '', '' }))
  end)
  page.asked, page.answer = text, vim.api.nvim_buf_line_count(page.bufnr) - 1
  vim.bo[page.bufnr].modifiable = false
end

--- Remove the last response before it is regenerated.
---@param page codellama.Page
function M.begin_again(page)
  page.draft = M.written(page)
  set(page, page.answer, -1, { '' })
  vim.bo[page.bufnr].modifiable = false
end

--- Append a part of the response.
---@param page codellama.Page
---@param text string
function M.append(page, text)
  if not vim.api.nvim_buf_is_loaded(page.bufnr) then
    return
  end
  following(page, function()
    local last = vim.api.nvim_buf_get_lines(page.bufnr, -2, -1, false)[1]
    set(page, -2, -1, vim.split(last .. text, '\n', { plain = true }))
  end)
  vim.bo[page.bufnr].modifiable = false
end

--- End the response, with an optional note.
---@param page codellama.Page
---@param text? string the whole of it, as the server has it
---@param note string
function M.end_answer(page, text, note)
  if not vim.api.nvim_buf_is_loaded(page.bufnr) then
    return
  end
  following(page, function()
    if text then
      set(page, page.answer, -1, vim.split(vim.trim(text), '\n', { plain = true }))
    end
    set(page, -1, -1, vim.list_extend({ '', YOU, '' }, vim.split(page.draft or '', '\n', { plain = true })))
  end)
  local draft = page.draft or ''
  page.input, page.draft = vim.api.nvim_buf_line_count(page.bufnr) - 1 - select(2, draft:gsub('\n', '')), nil
  if note ~= '' then
    local virtual = { virt_text = { { note, 'CodeLlamaHint' } }, virt_text_pos = 'eol' }
    vim.api.nvim_buf_set_extmark(page.bufnr, namespace, page.answer - 2, 0, virtual)
  end
end

--- Restore a refused message as the draft.
---@param page codellama.Page
function M.take_back(page)
  set(page, page.input, -1, vim.split(page.asked or '', '\n', { plain = true }))
  page.answer = nil
end

return M
