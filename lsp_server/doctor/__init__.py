"""``codellama-ls doctor``: settings checks, the last requests, and a report to share."""
