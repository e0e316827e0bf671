"""Cross-file context: snippets of other files for the prompt. Free of LSP types and tokens."""
