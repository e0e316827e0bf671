"""Find problems in Python files with the compiler and pyflakes, and match them to a server's diagnostic.

The code is never run. A file that this Python version cannot compile has one problem: its syntax error.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from pyflakes.checker import Checker
from pyflakes.messages import Message, UndefinedExport, UndefinedLocal, UndefinedName

MOST_CHARS = 400_000
"""Longer files are not checked; a file of this length takes about a second."""

SYNTAX = "SyntaxError"
"""``Problem.kind`` of a file that does not compile."""

_NAMES = (UndefinedName, UndefinedLocal, UndefinedExport)
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"[`'\"‘“]([^`'\"’”]+)[`'\"’”]")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a file.

    Attributes:
        line: zero-based.
        names: the names that the message mentions.
        unresolved: a name that nothing defines.
    """

    sentence: str
    line: int
    kind: str
    names: tuple[str, ...] = ()
    unresolved: bool = False

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Identity that survives a change of line."""
        return self.kind, self.names


def compiles(text: str) -> bool:
    """Return True if this Python version can compile the text."""
    return isinstance(parsed(text), ast.Module)


@lru_cache(maxsize=8)
def parsed(text: str) -> ast.Module | Problem | None:
    """Return the syntax tree or the syntax error; None if the text is too long or nested too deeply."""
    if len(text) > MOST_CHARS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except SyntaxError as error:
            line = (error.lineno or 1) - 1
            return Problem(f"it is no valid Python: {error.msg}", line, SYNTAX)
        except (ValueError, RecursionError, MemoryError):
            return None


@lru_cache(maxsize=8)
def problems(text: str) -> tuple[Problem, ...]:
    """Return all problems in order of lines; empty if the file cannot be checked."""
    found = parsed(text)
    if found is None:
        return ()
    if isinstance(found, Problem):
        return (found,)
    try:
        messages = Checker(found, filename="file.py").messages
    except RecursionError:
        return ()
    return tuple(sorted((_problem(message) for message in messages), key=lambda one: one.line))


def new_problems(before: str, after: str, *, unresolved: bool = False) -> list[Problem]:
    """Return the problems of ``after`` that ``before`` does not have; with ``unresolved``, only undefined names.

    Returns nothing if ``before`` does not compile.
    """
    if not compiles(before):
        return []
    had = Counter(one.key for one in problems(before))
    found = []
    for one in problems(after):
        had[one.key] -= 1
        if had[one.key] < 0 and (one.unresolved or not unresolved):
            found.append(one)
    return found


def matching(text: str, line: int, message: str, within: range) -> list[Problem]:
    """Return the problems that a diagnostic on ``line`` may refer to: those on that line that share a name with it.

    Servers word their messages differently but quote names as written in the file. In a file that does not compile,
    every diagnostic refers to the syntax error if that lies ``within`` the given lines.
    """
    names = set(_QUOTED.findall(message)) | set(_WORD.findall(message))
    return [
        one
        for one in problems(text)
        if (one.line in within if one.kind == SYNTAX else one.line == line and names & set(one.names))
    ]


def still_there(candidates: list[Problem], before: str, after: str, within: range) -> Problem | None:
    """Return the first of some problems of ``before`` that ``after`` has just as often, on any line.

    A syntax error counts only ``within`` the rewritten lines: the compiler reports one at a time, so a fixed one may
    reveal another outside them.
    """
    had, has = (Counter(one.key for one in problems(text)) for text in (before, after))
    kept = {one.key for one in candidates if has[one.key] >= had[one.key]}
    return next(
        (one for one in problems(after) if one.key in kept and (one.kind != SYNTAX or one.line in within)), None
    )


def _problem(message: Message) -> Problem:
    names = tuple(arg for arg in message.message_args if isinstance(arg, str))
    sentence = message.message % message.message_args
    return Problem(sentence, message.lineno - 1, type(message).__name__, names, isinstance(message, _NAMES))
