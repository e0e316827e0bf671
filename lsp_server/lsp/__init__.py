"""What LSP features share: parameters, documents, progress, workspace edits, and running one request."""
