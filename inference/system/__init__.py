"""Operating system helpers: files private to the user, machine facts, child processes. Torch-free at import."""
