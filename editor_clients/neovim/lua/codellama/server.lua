--- Where the language server's program is. Looks only where its user put things, never into an opened folder: a
--- repository could bring a program of that name along. Knows no LSP.
local M = {}

M.MISSING = 'the program codellama-ls was not found. Install it, e.g. with `pipx install PATH-OF-THE-CHECKOUT`, '
  .. 'or name it: require("codellama").setup({ cmd = { "/path/to/codellama-ls", "--stdio" } }). '
  .. ':checkhealth codellama says where it was looked for.'

--- The working directory of everything started here. Neovim's own is usually the opened folder, which must not supply
--- code: Python and Windows look for modules and programs in the working directory.
M.NEUTRAL_FOLDER = vim.fn.has('win32') == 1 and (vim.env.SystemDrive or 'C:') .. '\\' or '/'

--- The program in PATH; relative entries, which mean the opened folder, are left out.
---@return string?
local function in_path()
  local separator = vim.fn.has('win32') == 1 and ';' or ':'
  for folder in vim.gsplit(vim.env.PATH or '', separator, { plain = true }) do
    local path = vim.fs.joinpath(folder, 'codellama-ls')
    if vim.startswith(folder, '/') or folder:match('^%a:[\\/]') then
      if vim.fn.executable(path) == 1 then
        return vim.fn.exepath(path)
      end
    end
  end
end

--- Candidates, in the order in which they are tried.
---@return string[]
function M.places()
  local here = vim.fs.dirname(debug.getinfo(1, 'S').source:sub(2))
  local checkout = vim.fs.normalize(vim.fs.joinpath(here, '../../../..'))
  local found = {}
  for _, folder in ipairs({ vim.env.VIRTUAL_ENV or '', '~/.local', vim.fs.joinpath(checkout, '.venv') }) do
    if folder ~= '' then
      found[#found + 1] = vim.fs.normalize(vim.fs.joinpath(folder, 'bin', 'codellama-ls'))
    end
  end
  return found
end

--- The words to start it with; nil where it is not to be found.
---@return string[]?
function M.command()
  local cmd = require('codellama.config').options.cmd
  if cmd then
    return vim.fn.executable(cmd[1]) == 1 and cmd or nil
  end
  local path = in_path()
  if path then
    return { path, '--stdio' }
  end
  for _, place in ipairs(M.places()) do
    if vim.fn.executable(place) == 1 then
      return { place, '--stdio' }
    end
  end
end

return M
