"""Slow reference for the stop rules: each is evaluated on the whole text at every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from inference.text.stopping import MAX_BLANK_LINES, OPENERS, StopCause, StopRule, indent_width


class Verdict(NamedTuple):
    """Attributes: ``end``: cut here and stop, or None. ``safe``: text up to here is final."""

    end: int | None
    safe: int


@dataclass
class WholeTextStopper:
    """A ``Stopper`` that evaluates the whole text each time."""

    rule: StopRule = field(default_factory=StopRule)
    suffix: str = ""
    stops: Sequence[str] = ()
    text: str = ""
    shown: int = 0
    cause: StopCause | None = None

    def feed(self, chunk: str) -> str:
        """Add newly generated text."""
        self.text += chunk
        end, self.cause, safe = self._judge(final=False)
        return self._show(safe if end is None else end)

    def finish(self) -> str:
        """End of generation: apply the rules to the text held back; ``cause`` does not change."""
        if self.cause:
            return ""
        end, _, _ = self._judge(final=True)
        return self._show(len(self.text) if end is None else end)

    @property
    def trimmed(self) -> bool:
        """Return True if a rule removed the last text, so that the rest is complete."""
        return self.shown < len(self.text)

    def _judge(self, *, final: bool) -> tuple[int | None, StopCause | None, int]:
        """Return the earliest end of any rule, its cause, and the end of the text final for all."""
        verdicts: list[tuple[StopCause, Verdict]] = [
            (cause, judge(self.text, final)) for cause, judge in self._judges()
        ]
        end, by = None, None
        for cause, verdict in verdicts:
            if verdict.end is not None and (end is None or verdict.end < end):
                end, by = verdict.end, cause
        return end, by, min((verdict.safe for _, verdict in verdicts), default=len(self.text))

    def _show(self, upto: int) -> str:
        piece = self.text[self.shown : upto]
        self.shown = max(upto, self.shown)
        return piece

    def _judges(self) -> list[tuple[StopCause, Callable[[str, bool], Verdict]]]:
        judges: list[tuple[StopCause, Callable[[str, bool], Verdict]]] = []
        if self.rule.kind == "line":
            judges.append(("rule", line_end))
        if self.rule.kind == "block":
            judges.append(("rule", lambda text, final: block_end(text, final, self.rule.indent, self.rule.closer)))
        if self.suffix.strip():
            judges.append(("suffix", lambda text, final: suffix_start(text, final, self.suffix)))
        if self.stops:
            judges.append(("stop", lambda text, _: stop_string(text, self.stops)))
        return judges


def line_end(text: str, final: bool = False) -> Verdict:
    """End at the first newline."""
    del final
    newline = text.find("\n")
    return Verdict(None, len(text)) if newline < 0 else Verdict(newline, newline)


def block_end(text: str, final: bool, indent: int, closer: str) -> Verdict:
    """The end of the last line that belongs to the block; the first line is the cursor's."""
    kept = text.find("\n")
    if kept < 0:
        return Verdict(None, len(text))
    blank, start = 0, kept + 1
    while start <= len(text):
        newline = text.find("\n", start)
        complete = newline >= 0 or final
        stop = newline if newline >= 0 else len(text)
        line = text[start:stop]
        if not line.strip():
            blank += newline >= 0
            if blank > MAX_BLANK_LINES:
                return Verdict(kept, kept)
        elif indent_width(line) < indent or (blank and not line[0].isspace() and not indent):
            return _dedented(line, stop, kept, complete, closer)
        else:
            blank, kept = 0, stop
        if newline < 0:
            break
        start = newline + 1
    return Verdict(kept if final and kept < len(text) else None, kept)


def _dedented(line: str, stop: int, kept: int, complete: bool, closer: str) -> Verdict:
    """Handle a line with less indentation: a closing bracket belongs to the block, anything else does not."""
    if not closer or not line.strip().startswith(closer):
        return Verdict(kept, kept)
    return Verdict(stop, stop) if complete else Verdict(None, kept)


def suffix_start(text: str, final: bool, suffix: str) -> Verdict:
    """Return the position where the text begins to repeat the text after the cursor.

    On the cursor's line: at the rest of that line outside any bracket opened since, or at a closer that nothing
    opened and that the rest begins with. Below: at a line equal to the first that stands below.
    """
    rest, below = _landmarks(suffix)
    first_end = text.find("\n")
    first = text if first_end < 0 else text[:first_end]
    if rest and (cut := _rest_in_line(first, rest)) is not None:
        return Verdict(cut, cut)
    if first_end < 0:
        held = len(rest) - 1 if rest and not final else 0
        return Verdict(None, max(len(text) - held, 0))
    return _line_below(text, final, first_end, below)


def _landmarks(suffix: str) -> tuple[str, str]:
    """Return the rest of the cursor's line, and the first non-blank line below."""
    rest, _, below = suffix.partition("\n")
    return rest.strip(), next((line.rstrip() for line in below.split("\n") if line.strip()), "")


def _rest_in_line(line: str, rest: str) -> int | None:
    depth: list[str] = []
    for i, char in enumerate(line):
        if not depth and line.startswith(rest, i):
            return i
        if char in OPENERS.values():
            depth.append(char)
        elif char in OPENERS:
            if depth and depth[-1] == OPENERS[char]:
                depth.pop()
            elif not depth and rest[0] == char:
                return i
    return None


def _line_below(text: str, final: bool, first_end: int, below: str) -> Verdict:
    if not below:
        return Verdict(None, len(text))
    before = first_end
    while True:
        newline = text.find("\n", before + 1)
        line = text[before + 1 : newline if newline >= 0 else len(text)]
        complete = newline >= 0 or final
        if complete and line.rstrip() == below:
            return Verdict(before, before)
        if newline < 0:
            undecided = below.startswith(line) or line.rstrip() == below
            return Verdict(None, before if undecided and not final else len(text))
        before = newline


def stop_string(text: str, stops: Sequence[str]) -> Verdict:
    """End at the earliest stop string; a partial one at the end of the text is held back."""
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    if ends:
        return Verdict(min(ends), min(ends))
    held = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
    return Verdict(None, len(text) - held)
