"""Extract the code from a model's answer and fit it to the indentation of the code it replaces."""

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
    """Code from an answer, without blank lines at either end.

    Attributes:
        whole: the code is complete.
        fenced: it stood in a fenced block.
    """

    code: str
    whole: bool = True
    fenced: bool = True


def parse_answer(text: str, cause: Cause | None = "end") -> CodeAnswer:
    """Return the first fenced block, or the whole answer if it has none. Pass ``cause`` None while the model writes.

    Fences follow CommonMark 0.31, "Fenced code blocks", with one exception: inside a block, a fence with an info string
    opens a nested block, which the next bare fence closes, because models write Markdown that way. If the nesting is
    unbalanced in a complete answer, the last bare fence closes the block.
    """
    text = with_lf(text)
    opening = _FENCE.search(text)
    if opening is None:
        return CodeAnswer(_without_blank_ends(text), cause is not None and cause not in _CUT_OFF, fenced=False)
    begin, open_fences, last = opening.end() + 1, [opening[2]], -1
    for fence in _FENCE.finditer(text, begin):
        if fence[3].strip():
            open_fences += [fence[2]] * fence[2].startswith(opening[2])
        elif fence[2].startswith(open_fences[-1]):
            open_fences.pop()
            last = fence.start()
        if not open_fences:
            return CodeAnswer(_without_blank_ends(text[begin:last]))
    if last >= 0 and cause is not None and cause not in _CUT_OFF:
        return CodeAnswer(_without_blank_ends(text[begin:last]))
    return CodeAnswer(_without_blank_ends(text[begin:]), whole=False)


def dedent(code: str) -> tuple[str, str]:
    """Remove the common indentation; return the code and that indentation."""
    written = [line for line in code.split("\n") if line.strip()]
    lead = _LEAD.match(min(written, default=""))
    last = max(written, default="")
    common = lead.group() if lead else ""
    while not last.startswith(common):
        common = common[:-1]
    return "\n".join(line.removeprefix(common) for line in code.split("\n")), common


def reindent(code: str, original: str) -> str:
    """Indent the first line of ``code`` like that of ``original``, and shift the other lines along with it.

    Unchanged lines with less indentation than that stay: contents of heredocs and multi-line strings, C directives.
    """
    wanted, given = _first_lead(original), _first_lead(code)
    if wanted == given:
        return code
    dedented, common = dedent(original)
    if given == _first_lead(dedented):  # as in the prompt
        return _moved(code, "", common, frozenset())
    left = frozenset(line for line in original.split("\n") if not line.startswith(wanted))
    if given.startswith(wanted):
        return _moved(code, given[len(wanted) :], "", left)
    return _moved(code, given, wanted, left)


def fence_for(code: str) -> str:
    """Return a fence of backticks longer than any in ``code``."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    return "`" * (longest + 1)


def _moved(code: str, lead: str, to: str, stay: Collection[str]) -> str:
    """Replace ``lead`` with ``to`` at the start of every line, except blank lines and those that ``stay``."""
    lines = ((line, line.removeprefix(lead)) for line in code.split("\n"))
    return "\n".join(line if line in stay else (to + bare if bare.strip() else bare) for line, bare in lines)


def _first_lead(code: str) -> str:
    first = next((line for line in code.split("\n") if line.strip()), code.partition("\n")[0])
    lead = _LEAD.match(first)
    return lead.group() if lead else ""


def _without_blank_ends(code: str) -> str:
    """Strip blank lines from both ends, and trailing blanks."""
    lines = code.rstrip().split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    return "\n".join(lines)
