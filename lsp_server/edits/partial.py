"""What is certain of a rewrite while the model still writes it: the changes above the line it has come to.

Knows no LSP and no engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lsp_server.edits.answer import read
from lsp_server.edits.hunks import LINES, Hunk, UnwritableError, runs, smallest
from lsp_server.edits.rewrite import as_it_would_stand
from lsp_server.edits.tasks import Task

MOST_COMPARED = 20_000
"""As ``hunks.MOST_COMPARED``, for what is compared while others wait: some hundredths of a second."""
QUICK = 0.01
"""Seconds of work that may be done for each line; what takes more is followed by ``REST`` times as long without."""
REST = 10


@dataclass
class Sketch:
    """Shows what is certain of an answer as it grows: once a line, if it is new, and if that does not cost too much.

    ``clock`` tells the time, ``worked`` how much of it was spent at work, both in seconds.
    """

    task: Task
    show: Callable[[tuple[Hunk, ...]], None]
    keeps_lines: bool = False
    clock: Callable[[], float] = time.monotonic
    worked: Callable[[], float] = time.thread_time
    _lines: int = 0
    _drawn: tuple[Hunk, ...] = ()
    _rests_until: float = 0.0

    def __call__(self, text: str) -> None:
        lines = text.count("\n")
        if lines == self._lines or self.clock() < self._rests_until:
            return
        begun = self.worked()
        self._lines, hunks = lines, tuple(so_far(self.task, text, self.keeps_lines))
        if hunks != self._drawn:
            self._drawn = hunks
            self.show(hunks)
        took = self.worked() - begun
        self._rests_until = self.clock() + REST * took * (took > QUICK)


def so_far(task: Task, said: str, keeps_lines: bool = False) -> list[Hunk]:
    """Hunks of the task's document, from whole lines of an answer's beginning. None before its code begins.

    What differs at the end may be a change or just what has not been written yet: that is left out.
    """
    answer = read(said[: said.rfind("\n") + 1], None)
    if not answer.fenced or not answer.code:
        return []
    text, document = task.document.text, task.document
    old = LINES.findall(task.original)
    new = LINES.findall(as_it_would_stand(task, answer.code) + "\n" * (not answer.whole))
    changed = runs(old, new, MOST_COMPARED)
    if changed and not answer.whole and changed[-1].old_stop == len(old):
        old, new = old[: changed[-1].old_start], new[: changed[-1].new_start]
    stop = task.start + sum(map(len, LINES.findall(text[task.start : task.stop])[: len(old)]))
    line_end = "\n" if keeps_lines else document.line_end
    try:
        return smallest(text, task.start, stop, "".join(new), line_end, MOST_COMPARED)
    except UnwritableError:
        return []
