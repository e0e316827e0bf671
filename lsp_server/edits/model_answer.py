"""The code in a model's answer: its first block, at the indentation of what it replaces. Pure; knows no language."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from inference.api.events import Cause
from lsp_server.snapshot import with_lf

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_LEAD = re.compile(r"[ \t]*")
_CUT_OFF: tuple[Cause, ...] = ("length", "deadline")


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """Code without the blank lines around it.

    ``whole``: the model came to its end; ``fenced``: in a block of its own, not an answer of words and code."""

    code: str
    whole: bool = True
    fenced: bool = True


def read(text: str, cause: Cause | None = "end") -> CodeAnswer:
    """The first fenced block, or all of an answer without one; ``cause`` None while the model is still writing.

    Source of what a fence is: CommonMark 0.31, "Fenced code blocks"; but a fence with an info string inside a block
    begins one within it, as models write it, and the next bare one ends that. Where these don't come out even in an
    answer that is all there, the last bare one ends the block.
    """
    text = with_lf(text)
    opening = _FENCE.search(text)
    if opening is None:
        return CodeAnswer(_bare(text), cause is not None and cause not in _CUT_OFF, fenced=False)
    begin, open_fences, last = opening.end() + 1, [opening[2]], -1
    for fence in _FENCE.finditer(text, begin):
        if fence[3].strip():
            open_fences += [fence[2]] * fence[2].startswith(opening[2])
        elif fence[2].startswith(open_fences[-1]):
            open_fences.pop()
            last = fence.start()
        if not open_fences:
            return CodeAnswer(_bare(text[begin:last]))
    if last >= 0 and cause is not None and cause not in _CUT_OFF:
        return CodeAnswer(_bare(text[begin:last]))
    return CodeAnswer(_bare(text[begin:]), whole=False)


def dedented(code: str) -> tuple[str, str]:
    """Code without the blanks that all its lines begin with, and those blanks."""
    written = [line for line in code.split("\n") if line.strip()]
    lead = _LEAD.match(min(written, default=""))
    last = max(written, default="")
    common = lead.group() if lead else ""
    while not last.startswith(common):
        common = common[:-1]
    return "\n".join(line.removeprefix(common) for line in code.split("\n")), common


def fitted(code: str, original: str) -> str:
    """``code`` with its first line indented as ``original``'s is, and the others along with it.

    But for lines that stand further left in the original already, and are the same: what a heredoc or a string of
    several lines holds, a directive for C's preprocessor.
    """
    wanted, given = _first_lead(original), _first_lead(code)
    if wanted == given:
        return code
    shown, common = dedented(original)
    if given == _first_lead(shown):  # as it was put to the model
        return _moved(code, "", common, frozenset())
    left = frozenset(line for line in original.split("\n") if not line.startswith(wanted))
    if given.startswith(wanted):
        return _moved(code, given[len(wanted) :], "", left)
    return _moved(code, given, wanted, left)


def fence_for(code: str) -> str:
    """A fence that nothing in ``code`` closes."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    return "`" * (longest + 1)


def _moved(code: str, lead: str, to: str, stay: Collection[str]) -> str:
    """``to`` in place of ``lead`` in front of all lines but blank ones and those that ``stay``."""
    lines = ((line, line.removeprefix(lead)) for line in code.split("\n"))
    return "\n".join(line if line in stay else (to + bare if bare.strip() else bare) for line, bare in lines)


def _first_lead(code: str) -> str:
    first = next((line for line in code.split("\n") if line.strip()), code.partition("\n")[0])
    lead = _LEAD.match(first)
    return lead.group() if lead else ""


def _bare(code: str) -> str:
    """Without blank lines around, and without blanks at the end."""
    lines = code.rstrip().split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    return "\n".join(lines)
