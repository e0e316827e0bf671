-- Loaded at start-up: one command, and an autocommand that starts the plugin with the first file.
-- Everything else is loaded then, so that start-up stays fast.
if vim.g.loaded_codellama then
  return
end
vim.g.loaded_codellama = true

vim.api.nvim_create_user_command('CodeLlama', function(call)
  require('codellama.commands').run(call)
end, {
  nargs = '*',
  range = true,
  bang = true,
  desc = 'Code Llama: edit, chat, and what there is to know',
  complete = function(lead, line)
    return require('codellama.commands').complete(lead, line)
  end,
})

vim.api.nvim_create_autocmd('FileType', {
  group = vim.api.nvim_create_augroup('codellama.begin', {}),
  desc = 'Start Code Llama with the first file',
  callback = function(event)
    if vim.bo[event.buf].buftype ~= '' then
      return
    end
    vim.schedule(function()
      require('codellama').start()
    end)
    return true
  end,
})
