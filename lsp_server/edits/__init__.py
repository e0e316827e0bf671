"""Edits by instruction: the target, the prompt, validation of the rewrite, and its hunks."""
