"""Conversations with a model about code: what is said, what is shown of files, what answers contain. Knows no LSP."""
