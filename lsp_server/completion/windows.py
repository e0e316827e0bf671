"""How much of a document the model is shown around the cursor. Counts characters; tokens are the engine's business."""

from __future__ import annotations


def prefix_window(before: str, limit: int) -> str:
    """The text before the cursor, at most ``limit`` characters, from the start of a line.

    The window's start moves in blocks of a quarter of ``limit``: while a person types, the prompt only grows at its
    end, and the engine need not read the rest of it again.
    """
    if len(before) <= limit:
        return before
    block = max(limit // 4, 1)
    start = -(-(len(before) - limit) // block) * block
    line_start = before.find("\n", start - 1) + 1
    return before[line_start if 0 < line_start < len(before) else start :]


def suffix_window(after: str, limit: int) -> str:
    """The text after the cursor, at most ``limit`` characters, whole lines where possible."""
    if len(after) <= limit:
        return after
    return after[: after.rfind("\n", 0, limit) + 1 or limit]
