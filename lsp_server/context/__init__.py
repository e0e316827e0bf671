"""What else to show the model: pieces of other files. Knows no LSP types and no tokens."""
