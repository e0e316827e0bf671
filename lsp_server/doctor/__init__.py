"""``codellama-ls doctor``: what is well and what is not, the last requests, and a report to share."""
