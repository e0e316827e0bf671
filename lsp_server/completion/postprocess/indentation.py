"""Adapt a completion's indentation to the document: not doubled, and in its tabs or spaces. Pure."""

from __future__ import annotations

import re

from inference.text.languages import comment_mark
from inference.text.stopping import indent_width
from inference.text.syntax_position import position_at
from lsp_server.snapshot import Snapshot

_LEAD = re.compile(r"^([ \t]+)\S", re.MULTILINE)
_OPENS = (":", "{", "(", "[", "then", "do", "else", "=>", "=", "\\", ",")
SAMPLE_CHARS = 20_000
"""Characters before and after the cursor from which the document's indentation is inferred."""


def doubled_indentation(snapshot: Snapshot, text: str) -> str:
    """Remove leading blanks that repeat those left of the cursor.

    Blanks stay if the line may be indented further, or if they align text in the middle of a line.
    """
    bare = text.lstrip(" \t")
    if bare == text or not bare or bare[0] == "\n" or not snapshot.left[-1:].isspace():
        return text
    if position_at(snapshot.language, snapshot.before).inside != "code":
        return text
    if snapshot.left.strip():
        aligned = snapshot.left[-2:].isspace()
        return text if aligned or bare.startswith(comment_mark(snapshot.language) or "\n") else bare
    return text if _may_go_deeper(snapshot) else bare


def _may_go_deeper(snapshot: Snapshot) -> bool:
    """Return whether the line above opens a block and the cursor is not indented deeper than it."""
    above = next((line for line in reversed(snapshot.before.split("\n")[:-1]) if line.strip()), "")
    return above.rstrip().endswith(_OPENS) and indent_width(snapshot.left) <= indent_width(above)


def document_indentation(snapshot: Snapshot, text: str) -> str:
    """Indent with tabs or spaces if the document uses only tabs or only spaces."""
    around = snapshot.before[-SAMPLE_CHARS:] + snapshot.after[:SAMPLE_CHARS]
    leads = [lead for lead in _LEAD.findall(around) if len(lead) > 1 or lead == "\t"]
    first, newline, more = text.partition("\n")
    if not leads or not newline:
        return text
    if all(lead[0] == "\t" for lead in leads):
        unit = _unit(more)
        return first + newline + _LEAD.sub(lambda lead: _as_tabs(lead, unit), more)
    if not any("\t" in lead for lead in leads):
        unit = _unit(around)
        return first + newline + _LEAD.sub(lambda lead: lead[0].replace("\t", " " * unit), more)
    return text


def _as_tabs(lead: re.Match[str], unit: int) -> str:
    """Replace each ``unit`` leading spaces by a tab. Remaining spaces align text and stay."""
    blanks = lead[1]
    spaces = len(blanks) - len(blanks.lstrip(" "))
    return "\t" * (spaces // unit) + " " * (spaces % unit) + lead[0][spaces:]


def _unit(text: str) -> int:
    """Return the columns of one level: two if a line is indented by an odd multiple of two, else four."""
    return 2 if any(len(lead) % 4 == 2 for lead in _LEAD.findall(text) if "\t" not in lead) else 4
