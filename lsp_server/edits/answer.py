"""The code in a model's answer: its first block, at the indentation of what it replaces. Pure; knows no language."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference.generation.answer import Cause
from lsp_server.snapshot import with_lf

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_LEAD = re.compile(r"[ \t]*")
_CUT_OFF: tuple[Cause, ...] = ("length", "deadline")


@dataclass(frozen=True, slots=True)
class Answer:
    """Code without the blank lines around it.

    ``whole``: the model came to its end; ``fenced``: in a block of its own, not an answer of words and code."""

    code: str
    whole: bool = True
    fenced: bool = True


def read(text: str, cause: Cause | None = "end") -> Answer:
    """The first fenced block, or all of an answer without one; ``cause`` None while the model is still writing.

    Source of what a fence is: CommonMark 0.31, "Fenced code blocks".
    """
    text = with_lf(text)
    opening = _FENCE.search(text)
    if opening is None:
        return Answer(_bare(text), cause is not None and cause not in _CUT_OFF, fenced=False)
    begin = opening.end() + 1
    for closing in _FENCE.finditer(text, begin):
        if closing[2].startswith(opening[2]) and not closing[3].strip():
            return Answer(_bare(text[begin : closing.start()]))
    return Answer(_bare(text[begin:]), whole=False)


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
    """``code`` with its first line indented as ``original``'s is, and the others along with it."""
    wanted, given = _first_lead(original), _first_lead(code)
    if wanted == given:
        return code
    if given.startswith(wanted):
        return _without(code, given[len(wanted) :])
    lines = _without(code, given).split("\n")
    return "\n".join(wanted + line if line.strip() else line for line in lines)


def fence_for(code: str) -> str:
    """A fence that nothing in ``code`` closes."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    return "`" * (longest + 1)


def _without(code: str, lead: str) -> str:
    return "\n".join(line.removeprefix(lead) for line in code.split("\n"))


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
