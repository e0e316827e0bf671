"""Requests, events, status, errors and crash reports between the engine and its clients. Torch-free."""
