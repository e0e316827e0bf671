"""Post-processing: a sequence of named rules between the generated and the displayed text. Each is a pure function.

The rules for indentation come first: it is not doubled, and uses the document's tabs or spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.text.languages import comment_mark
from inference.text.stopping import indent_width
from inference.text.syntax_position import position_at
from lsp_server.completion.postprocess.brackets import doubled_closers, unfinished_block
from lsp_server.completion.postprocess.repeats import lines_above, lines_below, loops, rest_of_line
from lsp_server.completion.postprocess.syntax_check import parses_no_worse
from lsp_server.snapshot import LINE_END, Snapshot

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


Rule = Callable[[Snapshot, str], str]


@dataclass(frozen=True, slots=True)
class Postprocessed:
    """The text to insert at the cursor.

    Attributes:
        text: empty if nothing should be shown.
        rules: names of the rules that changed it, in order. If the text is empty, the last rule removed it.
    """

    text: str
    rules: tuple[str, ...] = ()

    @property
    def empty_reason(self) -> str:
        """Return the reason for an empty text, for the user; empty if there is a text."""
        if self.text:
            return ""
        return EMPTY_REASONS.get(self.rules[-1] if self.rules else "", "the model had nothing to add")


def postprocess(
    snapshot: Snapshot, text: str, *, cut: bool = False, rules: Sequence[tuple[str, Rule]] | None = None
) -> Postprocessed:
    """Apply ``RULES`` to the generated ``text``; ``cut``: its length limit or its deadline ended it.

    Pass other ``rules`` to measure the effect of single ones.
    """
    changed_by: list[str] = []
    for name, rule in RULES if rules is None else rules:
        if not text or (name == "unfinished line" and not cut):
            continue
        result = rule(snapshot, text)
        if result != text:
            changed_by.append(name)
        text = result
    return Postprocessed(text, tuple(changed_by))


def line_ends(snapshot: Snapshot, text: str) -> str:
    """Convert all line ends to LF. The document's own are restored when the item is built."""
    del snapshot
    return LINE_END.sub("\n", text)


def blank_end(snapshot: Snapshot, text: str) -> str:
    """Remove trailing whitespace, unless other text follows on the line."""
    return text if snapshot.right.strip() and text.strip() and "\n" not in text else text.rstrip()


def one_line(snapshot: Snapshot, text: str) -> str:
    """Keep only the first line if text follows the cursor on its line."""
    return text.partition("\n")[0] if snapshot.right.strip() else text


def unfinished_line(snapshot: Snapshot, text: str) -> str:
    """Remove the last of several lines if the generation was cut."""
    del snapshot
    return text.rpartition("\n")[0] if "\n" in text.strip("\n") else text


def comments_only(snapshot: Snapshot, text: str) -> str:
    """Remove a text that consists of comments, unless the user began the comment here or on the line above."""
    mark = comment_mark(snapshot.language)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if mark is None or not all(line.startswith(mark) for line in lines):
        return text
    above = snapshot.before.rpartition("\n")[0].rpartition("\n")[2]
    if not snapshot.left.strip() and above.lstrip().startswith(mark):
        return text
    return text if position_at(snapshot.language, snapshot.before).inside != "code" else ""


RULES: tuple[tuple[str, Rule], ...] = (
    ("line ends", line_ends),
    ("one line", one_line),
    ("unfinished line", unfinished_line),
    ("blank end", blank_end),
    ("doubled indentation", doubled_indentation),
    ("document's indentation", document_indentation),
    ("rest of the line", rest_of_line),
    ("lines below", lines_below),
    ("lines above", lines_above),
    ("loop", loops),
    ("doubled closer", doubled_closers),
    ("unfinished block", unfinished_block),
    ("comments only", comments_only),
    ("parses worse", parses_no_worse),
    ("blank end", blank_end),
)
"""The names appear in the trace and in the figures of ``codellama-ls gains``."""

EMPTY_REASONS = {
    "rest of the line": "the model's text repeats the rest of the line",
    "lines below": "the model's text repeats the lines below",
    "lines above": "the model's text repeats the lines above",
    "doubled closer": "the model's text only closes brackets that are already closed",
    "parses worse": "the model's text would break the file's syntax",
    "confidence": "the model's confidence is below completion.minConfidence",
    "comments only": "the model wrote a comment and no code",
}
