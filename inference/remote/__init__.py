"""Client of a remote OpenAI-compatible server: HTTP, server profile, prompt format. Torch-free."""
