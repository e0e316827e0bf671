"""The language server. It never imports torch: the model runs in the engine process or on a remote server."""
