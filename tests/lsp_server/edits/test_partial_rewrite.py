"""Partial results of a rewrite: frequency and content."""

from __future__ import annotations

from lsp_server.edits.hunks import Hunk
from lsp_server.edits.rewrite import PartialRewrite
from lsp_server.edits.tasks import EditTask
from lsp_server.snapshot import Document

TEXT = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n"
TASK = EditTask("edit", Document("file:///a.py", "python", 1, TEXT), 0, len(TEXT) - 1)
ANSWER = ["```python\n", "a = 10\n", "b = 2\n", "c = 30\n", "d = 4\n", "e = 5\n", "```\n"]
HUNKS = (Hunk(4, 5, "10"), Hunk(16, 17, "30"))


class FakeTime:
    """A clock set by the test, and CPU time that grows by ``step`` at every reading."""

    def __init__(self, step: float) -> None:
        self.step, self.now, self.done = step, 0.0, 0.0

    def clock(self) -> float:
        return self.now

    def worked(self) -> float:
        self.done += self.step
        return self.done


def partial_results(step: float, seconds_a_line: float) -> list[tuple[int, tuple[Hunk, ...]]]:
    """Return (number of lines received, hunks shown) for every partial result."""
    shown: list[tuple[int, tuple[Hunk, ...]]] = []
    time, lines = FakeTime(step), 0
    sketch = PartialRewrite(TASK, lambda hunks: shown.append((lines, hunks)), clock=time.clock, worked=time.worked)
    for lines in range(1, len(ANSWER) + 1):
        sketch("".join(ANSWER[:lines]))
        sketch("".join(ANSWER[:lines]))
        time.now += seconds_a_line
    return shown


def test_cheap_results_are_shown_with_every_new_hunk():
    assert partial_results(0.001, 0.01) == [(3, HUNKS[:1]), (5, HUNKS)]


def test_expensive_results_are_computed_less_often():
    """0.1 s of work is followed by a pause of 1 s, so that completions are still served."""
    assert partial_results(0.1, 0.6) == [(3, HUNKS[:1]), (5, HUNKS)]
    assert partial_results(0.1, 0.4) == [(4, HUNKS[:1]), (7, HUNKS)]
    assert partial_results(0.1, 0.0) == []
