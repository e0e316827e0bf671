"""How often what is certain of an answer is worked out while others wait."""

from __future__ import annotations

from lsp_server.edits.hunks import Hunk
from lsp_server.edits.rewrite import Sketch
from lsp_server.edits.tasks import EditTask
from lsp_server.snapshot import Document

TEXT = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n"
TASK = EditTask("edit", Document("file:///a.py", "python", 1, TEXT), 0, len(TEXT) - 1)
ANSWER = ["```python\n", "a = 10\n", "b = 2\n", "c = 30\n", "d = 4\n", "e = 5\n", "```\n"]
HUNKS = (Hunk(4, 5, "10"), Hunk(16, 17, "30"))


class Time:
    """As set; each reading of ``worked`` adds ``step``."""

    def __init__(self, step: float) -> None:
        self.step, self.now, self.done = step, 0.0, 0.0

    def clock(self) -> float:
        return self.now

    def worked(self) -> float:
        self.done += self.step
        return self.done


def drawn(step: float, seconds_a_line: float) -> list[tuple[int, tuple[Hunk, ...]]]:
    """After which line what was shown."""
    shown: list[tuple[int, tuple[Hunk, ...]]] = []
    time, lines = Time(step), 0
    sketch = Sketch(TASK, lambda hunks: shown.append((lines, hunks)), clock=time.clock, worked=time.worked)
    for lines in range(1, len(ANSWER) + 1):
        sketch("".join(ANSWER[:lines]))
        sketch("".join(ANSWER[:lines]))
        time.now += seconds_a_line
    return shown


def test_what_is_quickly_worked_out_is_shown_with_each_line_that_brings_something():
    assert drawn(0.001, 0.01) == [(3, HUNKS[:1]), (5, HUNKS)]


def test_what_takes_long_is_worked_out_less_often():
    """A tenth of a second's work is followed by a second's rest, in which completions are served."""
    assert drawn(0.1, 0.6) == [(3, HUNKS[:1]), (5, HUNKS)]
    assert drawn(0.1, 0.4) == [(4, HUNKS[:1]), (7, HUNKS)]
    assert drawn(0.1, 0.0) == []
