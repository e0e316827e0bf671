"""Shared by the LSP features: parameters, documents, progress, workspace edits, and running one request."""
