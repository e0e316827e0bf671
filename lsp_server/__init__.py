"""The Language Server: editor semantics. Knows no tensors; everything about the model is behind the wire."""
