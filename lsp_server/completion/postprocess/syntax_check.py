"""Syntax check: shorten or drop a completion with which the file parses worse than without it. Pure.

The check compares the numbers of syntax errors (tree-sitter's ERROR and MISSING nodes) near the cursor. So an
unfinished document passes. An unfinished completion is closed before it is parsed. Text size and CPU time are bounded.
"""

from __future__ import annotations

import re
import time

from tree_sitter import Node

from inference.text.stopping import OPENERS
from inference.text.syntax import parse, parser
from inference.text.syntax_position import parsed_window, position_at
from lsp_server.completion.postprocess.brackets import brackets_of
from lsp_server.snapshot import Snapshot

BEFORE, AFTER = 20_000, 8_000
"""Characters around the cursor that are parsed. Most files fit: a parse that starts mid-file is unreliable."""
SECONDS = 0.15
PARSE_SECONDS = 0.05
"""CPU time for all parses and for one. It is independent of the machine's load. On a timeout the text is kept."""

_CLOSERS = {opener: closer for closer, opener in OPENERS.items()}
_TRY = re.compile(r"^([ \t]*)try:[ \t]*$", re.MULTILINE)
_SHELL_ENDS = {"then": "\n:\nfi", "do": "\n:\ndone", "else": "\n:\nfi"}


def parses_no_worse(snapshot: Snapshot, text: str) -> str:
    """Return the most leading lines of ``text`` with which the file has no more syntax errors than without them.

    If the first line alone repairs the file, no error is allowed.
    """
    if not text or parser(snapshot.language) is None or _in_comment(snapshot, text):
        return text
    until = time.thread_time() + SECONDS
    around = parsed_window(snapshot.language, snapshot.before, BEFORE), _below(snapshot.after)
    allowed = faults(snapshot.language, "".join(around))
    lines = text.split("\n")
    if len(lines) > 1 and lines[0].strip() and allowed and not _faults_after(snapshot, around, lines[0]):
        allowed = 0
    for count in range(len(lines), 0, -1):
        kept = "\n".join(lines[:count])
        if allowed is None or time.thread_time() > until or _faults_after(snapshot, around, kept) <= allowed:
            return kept
    return ""


def faults(language: str, text: str) -> int | None:
    """Return the number of ERROR and MISSING nodes; None if the text cannot be parsed in time."""
    tree = parse(language, text.encode(errors="replace"), PARSE_SECONDS)
    if tree is None:
        return None
    count, pending = 0, [tree.root_node]
    while pending:
        node = pending.pop()
        count += node.is_error or node.is_missing
        pending += [child for child in node.children if _has_faults(child)]
    return count


def _in_comment(snapshot: Snapshot, text: str) -> bool:
    """Return whether the text only continues a block comment. Without its end the file does not parse."""
    return position_at(snapshot.language, snapshot.before).inside == "comment" and "*/" not in text and "\n" not in text


def _has_faults(node: Node) -> bool:
    return node.has_error or node.is_missing


def _faults_after(snapshot: Snapshot, around: tuple[str, str], text: str) -> int:
    """Return the fewest errors over all possible ends of ``text``; 0 if it cannot be parsed."""
    before, after = around
    return min(faults(snapshot.language, before + text + end + after) or 0 for end in _ends(snapshot, text))


def _ends(snapshot: Snapshot, text: str) -> list[str]:
    """Return possible ends: none, and the closers of the brackets and blocks that the text or its line opens."""
    ends = [""]
    for begun in (text, snapshot.left[-BEFORE:] + text):
        unclosed = brackets_of(begun, snapshot.language).unclosed
        ends.append("".join(_CLOSERS[bracket] for _, bracket in reversed(unclosed)))
    if snapshot.language == "python" and (tried := _TRY.findall(snapshot.left + text)):
        ends.append(f"\n{tried[-1]}finally:\n{tried[-1]} pass")
    if snapshot.language == "bash" and (end := _SHELL_ENDS.get(text.split().pop() if text.strip() else "")):
        ends.append(end)
    return list(dict.fromkeys(ends))


def _below(after: str) -> str:
    """Return the text after the cursor, at most about ``AFTER`` characters in whole lines."""
    return after if len(after) <= AFTER else after[: after.find("\n", AFTER - 200) + 1 or AFTER]
