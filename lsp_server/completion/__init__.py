"""The completion pipeline, from a snapshot to the texts to insert. Free of LSP types."""
