"""From the model's text to what is shown: a row of named rules, each a pure function. Knows no engine and no LSP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.text.languages import comment_mark
from inference.text.syntax_position import position_at
from lsp_server.completion.postprocess.brackets import doubled_closers, unfinished_block
from lsp_server.completion.postprocess.indentation import document_indentation, doubled_indentation
from lsp_server.completion.postprocess.repeats import lines_above, lines_below, loops, rest_of_line
from lsp_server.completion.postprocess.syntax_check import parses_no_worse
from lsp_server.snapshot import LINE_END, Snapshot

Rule = Callable[[Snapshot, str], str]


@dataclass(frozen=True, slots=True)
class Postprocessed:
    """What is left to insert at the cursor.

    Attributes:
        text: empty where nothing should be shown.
        rules: the names of the rules that changed it, in order; of an empty text the last one dropped it.
    """

    text: str
    rules: tuple[str, ...] = ()

    @property
    def why_nothing(self) -> str:
        """For the person: why there is nothing to show; empty where there is."""
        return "" if self.text else WORDS.get(self.rules[-1] if self.rules else "", "the model had nothing to add")


def postprocess(
    snapshot: Snapshot, text: str, *, cut: bool = False, rules: Sequence[tuple[str, Rule]] | None = None
) -> Postprocessed:
    """Put ``text`` into shape; ``cut`` says that it was broken off, by its length or its deadline.

    Other ``rules`` than ``RULES`` are for measuring what each of them gains.
    """
    changed: list[str] = []
    for name, rule in RULES if rules is None else rules:
        if not text or (name == "unfinished line" and not cut):
            continue
        shaped = rule(snapshot, text)
        if shaped != text:
            changed.append(name)
        text = shaped
    return Postprocessed(text, tuple(changed))


def line_ends(snapshot: Snapshot, text: str) -> str:
    """LF alone; whoever inserts it puts the document's own there."""
    del snapshot
    return LINE_END.sub("\n", text)


def blank_end(snapshot: Snapshot, text: str) -> str:
    """Blanks at a line's end; of a text of blanks nothing is left."""
    return text if snapshot.right.strip() and text.strip() and "\n" not in text else text.rstrip()


def one_line(snapshot: Snapshot, text: str) -> str:
    """In the middle of a line, no more than that line."""
    return text.partition("\n")[0] if snapshot.right.strip() else text


def unfinished_line(snapshot: Snapshot, text: str) -> str:
    """Of several lines, not the last one that was broken off."""
    del snapshot
    return text.rpartition("\n")[0] if "\n" in text.strip("\n") else text


def comments_only(snapshot: Snapshot, text: str) -> str:
    """Nothing, if all it says is comments that the person did not begin, here or on the line above."""
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

WORDS = {
    "rest of the line": "the model's text repeats the rest of the line",
    "lines below": "the model's text repeats what stands below",
    "lines above": "the model's text repeats what stands above",
    "doubled closer": "the model's text only closes brackets that are closed already",
    "parses worse": "the model's text would break the file's syntax",
    "confidence": "the model was less sure of its text than completion.minConfidence asks for",
    "comments only": "the model wrote a comment and no code",
}
