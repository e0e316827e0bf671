"""Base class of the errors that are shown to the user. Torch-free."""

from __future__ import annotations


class CodeLlamaError(Exception):
    """An error meant for the user: its message says in one sentence what happened and what to do."""
