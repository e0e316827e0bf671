"""Prefix and suffix window: the text around the cursor that is sent to the model, limited in characters.

The engine counts tokens and shortens further if needed.
"""

from __future__ import annotations


def prefix_window(before: str, limit: int) -> str:
    """Return the text before the cursor, at most ``limit`` characters, from the start of a line.

    The window's start moves in blocks of a quarter of ``limit``. So while the user types, the prompt only grows at its
    end, and the engine reuses the KV cache of the rest.
    """
    if len(before) <= limit:
        return before
    block = max(limit // 4, 1)
    start = -(-(len(before) - limit) // block) * block
    line_start = before.find("\n", start - 1) + 1
    return before[line_start if 0 < line_start < len(before) else start :]


def suffix_window(after: str, limit: int) -> str:
    """Return the text after the cursor, at most ``limit`` characters, whole lines where possible."""
    if len(after) <= limit:
        return after
    return after[: after.rfind("\n", 0, limit) + 1 or limit]
