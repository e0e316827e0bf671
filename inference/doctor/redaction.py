"""A text without who, where and what is secret: names, addresses, tokens, paths. The last net under a report.

Pure. What a report is made of should hold none of these to begin with; sentences that were composed with a path or a
name pass through here.

What this program says of its own accord, read from its own source: all other words are somebody else's.

So a report can hold what is known to be harmless rather than leave out what is known to be harmful. Imports nothing of
what it reads.

A log without anybody's text in it: own messages with their numbers, where in which library, and kinds of errors.

Pure. Everything else is counted and left out. Sources: logging's format in ``serving.main``, Python's ``traceback`` and
``faulthandler``.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from inference.client.crash_report import ENDED, FATAL, HUNG
from inference.models.catalog import CATALOG
from inference.models.shape import FORMATS

SECRET, ADDRESS, PATH = "[secret]", "[address]", "[path]"

SHORTEST_NAME = 2
SHORTEST_SECRET = 6

_PATTERNS = (
    (re.compile(r"\bbearer\s+\S+", re.IGNORECASE), SECRET),
    (
        re.compile(r"\b([\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key))(\s*[=:]\s*)\S+", re.IGNORECASE),
        rf"\1\2{SECRET}",
    ),
    (re.compile(r"\b(?:sk|hf|gh[opsu]|github_pat|glpat|xox[abp]|AKIA)[-_]?\w{12,}"), SECRET),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), ADDRESS),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), ADDRESS),
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"), ADDRESS),
    (re.compile(r"(?<![\w.>\]])(?:~|(?=/))/[^\s\"'`,;:()<>|\[\]]*[^\s\"'`,;:()<>|\[\].]"), PATH),
    (re.compile(r"(?=[A-Za-z+_=-]*\d)[A-Za-z0-9+_=-]{32,}"), SECRET),
)

Redact = Callable[[str], str]


def redactor(secrets: Iterable[str], places: Mapping[str, str], names: Mapping[str, str]) -> Redact:
    """A function that replaces ``secrets``, ``places`` (paths, by what they are called instead) and ``names``.

    The longest comes first, so that of two paths of which one lies in the other both are whole. Names are replaced in
    any case, where they are whole words.
    """
    exact = {**{secret: SECRET for secret in secrets if len(secret) >= SHORTEST_SECRET}, **places}
    texts = [(text, by) for text, by in sorted(exact.items(), key=lambda one: -len(one[0])) if len(text) > 1]
    words = [
        (re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE), by)
        for name, by in sorted(names.items(), key=lambda one: -len(one[0]))
        if len(name) >= SHORTEST_NAME
    ]

    def redact(text: str) -> str:
        for old, new in texts:
            text = text.replace(old, new)
        for pattern, new in (*_PATTERNS, *words):
            text = pattern.sub(new, text)
        return text

    return redact


ELSE = "[left out]"
"""Stands for what was not said by this program."""

LEVELS = ("debug", "info", "warning", "error", "exception")

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?")
PLAIN = re.compile(r"-?\d[\d.,]*( ?(%|ms|s|MiB|GiB|tokens|dev\d+|rc\d+))?")
"""A number, a version or an amount."""

_PLACEHOLDER = re.compile(r"%[\d.]*([sdrf])")


@dataclass(frozen=True, slots=True)
class KnownStrings:
    """Of a program: its literals, what its log lines are made from (the most particular first), and its files."""

    literals: frozenset[str]
    templates: tuple[tuple[str, re.Pattern[str]], ...]
    files: frozenset[str]

    def value(self, value: Any) -> Any:
        """A JSON value in which every string, keys included, that is not one of our own is left out."""
        if isinstance(value, Mapping):
            return {self._string(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return self._string(value) if isinstance(value, str) else value

    def logged(self, message: str) -> str:
        """A log's message, with only numbers and own words put into its template; else nothing of it."""
        for template, pattern in self.templates:
            if found := pattern.fullmatch(message):
                told = [self._string(value) for value in found.groups()]
                return _PLACEHOLDER.sub("%s", template) % tuple(told)
        return ELSE

    def _string(self, text: str) -> str:
        return text if text in self.literals or PLAIN.fullmatch(text) or MOMENT.fullmatch(text) else ELSE


@cache
def known_strings(packages: tuple[Path, ...]) -> KnownStrings:
    """Those of the source files below ``packages``, and the names of the catalogue's models."""
    literals, templates, files = {*CATALOG, *FORMATS, ""}, set[str](), set[str]()
    for path in (path for package in packages for path in package.rglob("*.py")):
        files.update(path.relative_to(package.parent).as_posix() for package in packages if package in path.parents)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
            elif isinstance(node, ast.Call):
                templates.update(_template(node))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                literals.add(node.target.id)  # a field's name, as JSON has it
    ordered = sorted(templates, key=lambda text: len(_PLACEHOLDER.sub("", text)), reverse=True)
    return KnownStrings(frozenset(literals), tuple((text, _pattern(text)) for text in ordered), frozenset(files))


def _template(call: ast.Call) -> Iterator[str]:
    """The first argument of ``log.info("...")`` and the like."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS
    if named and call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        yield call.args[0].value


def _pattern(template: str) -> re.Pattern[str]:
    pieces = _PLACEHOLDER.split(template)  # text and kind of placeholder by turns
    return re.compile("".join("(.*?)" if n % 2 else re.escape(p.replace("%%", "%")) for n, p in enumerate(pieces)))


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


def shareable(lines: Iterable[str], own: KnownStrings) -> list[str]:
    """What of each line may be shared, and how many lines in a row were left out."""
    told = (_line(line, own) for line in lines if line.strip())
    return [one for kept, group in groupby(told, bool) for one in (group if kept else [_left_out(list(group))])]


def _left_out(lines: list[str]) -> str:
    return f"[{len(lines)} line{'s' * (len(lines) > 1)} left out]"


def _line(line: str, own: KnownStrings) -> str:
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


def _frame(path: str, where: str, own: KnownStrings) -> str:
    """Where in this program or in a library; of a file that belongs to neither, nothing."""
    within = _LIBRARY.fullmatch(path)
    place = next((file for file in own.files if path.endswith(f"/{file}")), within[1] if within else "")
    return f'  File "{place}", {where}' if place else ""
