"""What is certain of a rewrite while the model still writes it: the changes above the line it has come to. Pure."""

from __future__ import annotations

from lsp_server.edits.answer import read
from lsp_server.edits.hunks import LINES, Hunk, UnwritableError, runs, smallest
from lsp_server.edits.rewrite import as_it_would_stand
from lsp_server.edits.tasks import Task


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
    changed = runs(old, new)
    if changed and not answer.whole and changed[-1].old_stop == len(old):
        old, new = old[: changed[-1].old_start], new[: changed[-1].new_start]
    stop = task.start + sum(map(len, LINES.findall(text[task.start : task.stop])[: len(old)]))
    try:
        return smallest(text, task.start, stop, "".join(new), "\n" if keeps_lines else document.line_end)
    except UnwritableError:
        return []
