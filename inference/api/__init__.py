"""Requests, events, status and errors between the engine and its clients. Torch-free."""
