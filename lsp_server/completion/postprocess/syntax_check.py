"""Does the file parse worse with a completion than without it? Then the completion is cut back, or dropped.

Faults (ERROR and MISSING nodes of tree-sitter) near the cursor are counted and compared, so that an unfinished document
is no obstacle; nor is an unfinished completion, which is judged with an end put to it. Pure; bounded in text and time.
"""

from __future__ import annotations

import re
import time

from tree_sitter import Node

from inference.text.stopping import OPENERS
from inference.text.syntax import parse, parser
from inference.text.syntax_position import position_at, window
from lsp_server.completion.postprocess.brackets import brackets_of
from lsp_server.snapshot import Snapshot

BEFORE, AFTER = 20_000, 8_000
"""Characters around the cursor that are parsed: most files whole, as what begins in the middle is read at random."""
SECONDS = 0.15
PARSE_SECONDS = 0.05
"""Of the processor's time, as a busy machine is to show the same. What is not found wrong by then is kept."""

_CLOSERS = {opener: closer for closer, opener in OPENERS.items()}
_TRY = re.compile(r"^([ \t]*)try:[ \t]*$", re.MULTILINE)
_SHELL_ENDS = {"then": "\n:\nfi", "do": "\n:\ndone", "else": "\n:\nfi"}


def parses_no_worse(snapshot: Snapshot, text: str) -> str:
    """The longest beginning of ``text``, in whole lines, with which the file has no more faults than without it.

    With none, if its first line alone repairs what was unfinished.
    """
    if not text or parser(snapshot.language) is None or _in_comment(snapshot, text):
        return text
    until = time.thread_time() + SECONDS
    around = window(snapshot.language, snapshot.before, BEFORE), _below(snapshot.after)
    allowed = faults(snapshot.language, "".join(around))
    lines = text.split("\n")
    if len(lines) > 1 and lines[0].strip() and allowed and not _faults_with(snapshot, around, lines[0]):
        allowed = 0
    for count in range(len(lines), 0, -1):
        kept = "\n".join(lines[:count])
        if allowed is None or time.thread_time() > until or _faults_with(snapshot, around, kept) <= allowed:
            return kept
    return ""


def faults(language: str, text: str) -> int | None:
    """How many ERROR and MISSING nodes its tree has; None where it can't be parsed, or not in time."""
    tree = parse(language, text.encode(errors="replace"), PARSE_SECONDS)
    if tree is None:
        return None
    found, waiting = 0, [tree.root_node]
    while waiting:
        node = waiting.pop()
        found += node.is_error or node.is_missing
        waiting += [child for child in node.children if _holds_faults(child)]
    return found


def _in_comment(snapshot: Snapshot, text: str) -> bool:
    """Whether it only goes on with a comment of many lines, which has no end yet and makes the file hard to read."""
    return position_at(snapshot.language, snapshot.before).inside == "comment" and "*/" not in text and "\n" not in text


def _holds_faults(node: Node) -> bool:
    return node.has_error or node.is_missing


def _faults_with(snapshot: Snapshot, around: tuple[str, str], text: str) -> int:
    """The fewest there are with any end put to ``text``; none where it can't be parsed."""
    before, after = around
    return min(faults(snapshot.language, before + text + end + after) or 0 for end in _ends(snapshot, text))


def _ends(snapshot: Snapshot, text: str) -> list[str]:
    """Nothing, and what would end what the text or its line begins."""
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
    """Whole lines of what follows."""
    return after if len(after) <= AFTER else after[: after.find("\n", AFTER - 200) + 1 or AFTER]
