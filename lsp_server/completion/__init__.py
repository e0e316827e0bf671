"""The road from a snapshot to a suggestion, one small module per step. Knows no LSP types."""
