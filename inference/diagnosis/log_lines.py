"""A log without anybody's text in it: own messages with their numbers, where in which library, and kinds of errors.

Pure. Everything else is counted and left out. Sources: logging's format in ``serving.main``, Python's ``traceback`` and
``faulthandler``.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from itertools import groupby

from inference.diagnosis.own_words import ELSE, OwnWords
from inference.serving.post_mortem import ENDED, FATAL, HUNG

_LOGGED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) ([\w.]+) (.*)")
_FRAME = re.compile(r'  File "(.*)", line (\d+)(,?) in (\w+|<\w+>)')
_ERROR = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning))(?::.*)?")
_ENDED = re.compile(f"{re.escape(ENDED)}SIG[A-Z0-9]+|{re.escape(HUNG)}")
_FATAL = re.compile(
    re.escape(FATAL) + "(Segmentation fault|Aborted|Bus error|Floating-point exception|Illegal instruction)"
)
_HEADS = re.compile(
    r"Traceback \(most recent call last\):|"
    r"(Current t|T)hread 0x[0-9a-f]+ \(most recent call first\):"
)
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib/python3\.\d+)/(.*)")
_PACKAGES = ("inference", "lsp_server", "__main__")
"""Whose messages are known; the engine's own module runs as a program."""

_KNOWN = (
    *_PACKAGES,
    "uvicorn",
    "asyncio",
    "concurrent",
    "torch",
    "transformers",
    "bitsandbytes",
    "safetensors",
    "httpx",
    "py",
)
"""Whose loggers and errors are named."""


def shareable(lines: Iterable[str], own: OwnWords) -> list[str]:
    """What of each line may be shared, and how many lines in a row were left out."""
    told = (_line(line, own) for line in lines if line.strip())
    return [one for kept, group in groupby(told, bool) for one in (group if kept else [_left_out(list(group))])]


def _left_out(lines: list[str]) -> str:
    return f"[{len(lines)} line{'s' * (len(lines) > 1)} left out]"


def _line(line: str, own: OwnWords) -> str:
    if found := _LOGGED.fullmatch(line):
        when, level, logger, message = found.groups()
        package = logger.partition(".")[0]
        text = own.logged(message) if package in _PACKAGES else ELSE
        return f"{when} {level} {logger if package in _KNOWN else ELSE} {text}"
    if found := _FRAME.fullmatch(line):
        return _frame(found[1], f"line {found[2]}{found[3]} in {found[4]}", own)
    if any(pattern.fullmatch(line) for pattern in (_HEADS, _ENDED, _FATAL)):
        return line
    found = _ERROR.fullmatch(line)
    return f"{_error(found[1])}: {ELSE}" if found else ""


def _error(name: str) -> str:
    """A kind of error that Python or a library here has; of another, that there was one."""
    return name if hasattr(builtins, name) or name.partition(".")[0] in _KNOWN else "Error"


def _frame(path: str, where: str, own: OwnWords) -> str:
    """Where in this program or in a library; of a file that belongs to neither, nothing."""
    within = _LIBRARY.fullmatch(path)
    place = next((file for file in own.files if path.endswith(f"/{file}")), within[1] if within else "")
    return f'  File "{place}", {where}' if place else ""
