-- For vim.lsp.enable('codellama'), which the plugin does by itself; vim.lsp.config('codellama', {...}) adds to it.
return require('codellama.client').config()
