"""Text, token ids and prompts. Pure and torch-free; knows no weights and no requests."""
