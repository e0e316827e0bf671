"""Tokenizers, prompts, stop rules and syntax of source code. Pure and torch-free."""
