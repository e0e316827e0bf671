"""One line or a block: how much a completion may write, from what stands around the cursor.

Knows only indentation and brackets, no grammar.
"""

from __future__ import annotations

from inference.text.stopping import StopRule, indent_width
from lsp_server.snapshot import Snapshot


def stop_rule(snapshot: Snapshot) -> StopRule:
    """Text right of the cursor asks for the rest of the line; a block opener or an empty line for a block."""
    left, right = snapshot.left, snapshot.right
    if right.strip():
        return StopRule("line")
    if not left.strip():
        return StopRule("block", indent=indent_width(left))
    if left.rstrip().endswith((":", "{")):
        return StopRule("block", indent=indent_width(left) + 1, closer=_closer(snapshot))
    return StopRule("line")


def _closer(snapshot: Snapshot) -> str:
    """The brace that ends the block, unless it already stands below."""
    if not snapshot.left.rstrip().endswith("{"):
        return ""
    below = next((line.strip() for line in snapshot.after.split("\n") if line.strip()), "")
    return "" if below.startswith("}") else "}"
