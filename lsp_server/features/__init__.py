"""The LSP methods, commands and custom methods of the server; one module per group."""
