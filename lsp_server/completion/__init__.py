"""The completion pipeline, from a snapshot to an item. Free of LSP types."""
