"""From the model's text to what is shown: nothing worth less than nothing. Pure; knows no engine and no LSP."""

from __future__ import annotations

from lsp_server.snapshot import Snapshot


def shape(snapshot: Snapshot, text: str) -> str:
    """The text to insert at the cursor, or an empty one where nothing should be shown."""
    text = text.rstrip()
    if not text.strip():
        return ""
    if not snapshot.right.strip() and _repeats_below(snapshot, text):
        return ""
    return text


def _repeats_below(snapshot: Snapshot, text: str) -> bool:
    """Does it say just what the next lines say?"""
    below = [line.strip() for line in snapshot.after.split("\n") if line.strip()]
    said = [line.strip() for line in (snapshot.left + text).split("\n") if line.strip()]
    return bool(said) and said == below[: len(said)]
