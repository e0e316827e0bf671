"""A minimal LSP client that drives the real stdio server without an editor."""
