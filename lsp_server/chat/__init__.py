"""Chat about code: conversations, attachments, git changes. Free of LSP types."""
