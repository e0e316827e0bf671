--- Find the language server's program. Only the user's own locations are searched, never the opened folder: a
--- repository could contain a program of that name.
local M = {}

M.MISSING = 'codellama-ls was not found. Install it, e.g. with `pipx install PATH-OF-THE-CHECKOUT`, '
  .. 'or set its path: require("codellama").setup({ cmd = { "/path/to/codellama-ls", "--stdio" } }). '
  .. '`:checkhealth codellama` lists the searched places.'

--- The working directory of every child process. Neovim's is usually the opened folder, which must not supply
--- code: Python and Windows search the working directory for modules and programs.
M.NEUTRAL_FOLDER = vim.fn.has('win32') == 1 and (vim.env.SystemDrive or 'C:') .. '\\' or '/'

--- The program in PATH. Relative entries, which refer to the opened folder, are skipped.
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

--- Candidates in order of preference.
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

--- The command line; nil if the program is not found.
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
