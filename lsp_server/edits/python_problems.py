"""What Python's compiler and pyflakes say of a file, and whether it is what a diagnostic said. Pure; runs no code.

A file that this Python can't compile, as it is unfinished or of another version, has that as its one problem.
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
"""Longer files are not looked at: a second's work."""

SYNTAX = "SyntaxError"
"""The kind of problem that a file has which can't be compiled."""

_NAMES = (UndefinedName, UndefinedLocal, UndefinedExport)
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"[`'\"‘“]([^`'\"’”]+)[`'\"’”]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One of a file: a sentence, its zero-based line, and what is the same in a problem that only moved."""

    sentence: str
    line: int
    kind: str
    names: tuple[str, ...] = ()
    unresolved: bool = False

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        return self.kind, self.names


def compiles(text: str) -> bool:
    """Is it a program of this version of Python?"""
    return isinstance(parsed(text), ast.Module)


@lru_cache(maxsize=8)
def parsed(text: str) -> ast.Module | Problem | None:
    """The program, or what the compiler says; None of a text too long, or nested too deep, to look at."""
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
    """All that are found, in order of lines; none where the file can't be looked at."""
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
    """Those of ``after`` that ``before`` does not have; with ``unresolved``, only names that nothing defines.

    Of a file that did not compile before nothing is known, and so nothing is new.
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


def told_by(text: str, line: int, message: str, within: range) -> list[Problem]:
    """Which problems of a file a diagnostic on ``line`` may be about: those of that line that share a name with it.

    Servers word things in their own ways; names they quote as they are in the file. A file that can't be compiled has
    one problem, and whatever is said of it is about that, if it lies ``within`` the lines looked at.
    """
    said = set(_QUOTED.findall(message)) | set(_WORD.findall(message))
    return [
        one
        for one in problems(text)
        if (one.line in within if one.kind == SYNTAX else one.line == line and said & set(one.names))
    ]


def still_there(told: list[Problem], before: str, after: str, within: range) -> Problem | None:
    """The first of some problems of ``before`` that ``after`` has as often, wherever they stand.

    But an error of syntax counts only ``within`` the lines that were written anew: a file tells of one at a time, and
    once the one is mended, of another elsewhere.
    """
    had, has = (Counter(one.key for one in problems(text)) for text in (before, after))
    kept = {one.key for one in told if has[one.key] >= had[one.key]}
    return next(
        (one for one in problems(after) if one.key in kept and (one.kind != SYNTAX or one.line in within)), None
    )


def _problem(message: Message) -> Problem:
    names = tuple(arg for arg in message.message_args if isinstance(arg, str))
    sentence = message.message % message.message_args
    return Problem(sentence, message.lineno - 1, type(message).__name__, names, isinstance(message, _NAMES))
