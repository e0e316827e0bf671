--- Convert an item to text at the cursor, and compute the rest of it while the user types. Pure.
local M = {}

--- A buffer, a cursor position and the text around it at one moment.
---@class codellama.Here
---@field bufnr integer
---@field tick integer
---@field row integer zero-based
---@field left string what stands before the cursor on its line
---@field right string what stands after it

---@class codellama.Suggestion
---@field text string to insert at the cursor
---@field id? string by which the server knows it

--- The text that an item inserts at the cursor, or nil if the item changes existing text of the line.
---@param item lsp.InlineCompletionItem
---@param here codellama.Here
---@return codellama.Suggestion?
function M.suggestion(item, here)
  local text = item.insertText
  if type(text) ~= 'string' then
    return nil
  end
  if item.range then
    local first, last = item.range.start.line, item.range['end'].line
    if first ~= here.row or last ~= here.row then
      return nil
    end
    if not vim.startswith(text, here.left) or not vim.endswith(text, here.right) then
      return nil
    end
    text = text:sub(#here.left + 1, #text - #here.right)
  end
  local arguments = item.command and item.command.arguments
  return text ~= '' and { text = text, id = arguments and arguments[1] } or nil
end

--- The rest of `text`, suggested at `from`, for the cursor at `here`; nil if other text was typed.
---@param text string
---@param from codellama.Here
---@param here codellama.Here
---@param between string[] the lines from `from`'s to the cursor's, the last one up to the cursor
---@return string?
function M.left_of(text, from, here, between)
  if here.bufnr ~= from.bufnr or here.right ~= from.right or not vim.startswith(between[1], from.left) then
    return nil
  end
  local typed = table.concat(between, '\n'):sub(#from.left + 1)
  return vim.startswith(text, typed) and text:sub(#typed + 1) or nil
end

--- The part to accept.
---@param text string
---@param part 'all'|'word'|'line'
---@return string
function M.part(text, part)
  if part == 'word' then
    local word = vim.fn.matchstr(text, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]])
    return word ~= '' and word or text
  elseif part == 'line' then
    return text:match('^\n?[^\n]*')
  end
  return text
end

return M
