"""Redaction for reports that users share: logs, JSON values and sentences without names, paths, secrets or user text.

An allow list comes first: the string literals in this program's own source (``known_strings``). Every other string in a
log or a JSON value is left out. Sentences that contain a path or a name then pass through a ``redactor``.

Sources of the line formats: logging's format in ``inference.server.process``, Python's ``traceback`` and
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

LEFT_OUT = "[left out]"
"""Stands for a string that is not known."""

SECRET, ADDRESS, PATH = "[secret]", "[address]", "[path]"

LEVELS = ("debug", "info", "warning", "error", "exception")

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?")
PLAIN = re.compile(r"-?\d[\d.,]*( ?(%|ms|s|MiB|GiB|tokens|dev\d+|rc\d+))?")
"""A number, a version or a quantity."""

_PLACEHOLDER = re.compile(r"%[\d.]*([sdrf])")


@dataclass(frozen=True, slots=True)
class KnownStrings:
    """Strings of a program's source: literals, log templates (the most specific first) and file names."""

    literals: frozenset[str]
    templates: tuple[tuple[str, re.Pattern[str]], ...]
    files: frozenset[str]

    def value(self, value: Any) -> Any:
        """Return a JSON value with every unknown string left out, keys included."""
        if isinstance(value, Mapping):
            return {self._string(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return self._string(value) if isinstance(value, str) else value

    def log_message(self, message: str) -> str:
        """Return a log message with unknown arguments left out, or nothing of it if no template matches."""
        for template, pattern in self.templates:
            if match := pattern.fullmatch(message):
                arguments = [self._string(value) for value in match.groups()]
                return _PLACEHOLDER.sub("%s", template) % tuple(arguments)
        return LEFT_OUT

    def _string(self, text: str) -> str:
        return text if text in self.literals or PLAIN.fullmatch(text) or MOMENT.fullmatch(text) else LEFT_OUT


@cache
def known_strings(packages: tuple[Path, ...]) -> KnownStrings:
    """Collect the strings of the source files below ``packages``, without importing them, and the catalogue's names."""
    literals, templates, files = {*CATALOG, *FORMATS, ""}, set[str](), set[str]()
    for path in (path for package in packages for path in package.rglob("*.py")):
        files.update(path.relative_to(package.parent).as_posix() for package in packages if package in path.parents)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
            elif isinstance(node, ast.Call):
                templates.update(_template(node))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                literals.add(node.target.id)  # a dataclass field's name is a key in JSON
    ordered = sorted(templates, key=lambda text: len(_PLACEHOLDER.sub("", text)), reverse=True)
    return KnownStrings(frozenset(literals), tuple((text, _pattern(text)) for text in ordered), frozenset(files))


def _template(call: ast.Call) -> Iterator[str]:
    """Yield the first argument of a call such as ``log.info("...")``."""
    logs = isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS
    if logs and call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        yield call.args[0].value


def _pattern(template: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(template)  # text and kind of placeholder alternate
    return re.compile("".join("(.*?)" if n % 2 else re.escape(p.replace("%%", "%")) for n, p in enumerate(parts)))


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
_OWN_LOGGERS = ("inference", "lsp_server", "__main__")
"""Loggers whose messages may be kept. The engine's main module runs as ``__main__``."""

_NAMED_PACKAGES = (
    *_OWN_LOGGERS,
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
"""Packages whose logger and exception names may be kept."""


def redact_log(lines: Iterable[str], own: KnownStrings) -> list[str]:
    """Redact the lines of a log. Each run of lines left out becomes one line with their number."""
    redacted = (_line(line, own) for line in lines if line.strip())
    return [one for kept, group in groupby(redacted, bool) for one in (group if kept else [_left_out(list(group))])]


def _left_out(lines: list[str]) -> str:
    return f"[{len(lines)} line{'s' * (len(lines) > 1)} left out]"


def _line(line: str, own: KnownStrings) -> str:
    """Return the shareable part of a line; empty if there is none."""
    if match := _LOGGED.fullmatch(line):
        when, level, logger, message = match.groups()
        package = logger.partition(".")[0]
        text = own.log_message(message) if package in _OWN_LOGGERS else LEFT_OUT
        return f"{when} {level} {logger if package in _NAMED_PACKAGES else LEFT_OUT} {text}"
    if match := _FRAME.fullmatch(line):
        return _frame(match[1], f"line {match[2]}{match[3]} in {match[4]}", own)
    if any(pattern.fullmatch(line) for pattern in (_HEADS, _ENDED, _FATAL)):
        return line
    match = _ERROR.fullmatch(line)
    return f"{_error(match[1])}: {LEFT_OUT}" if match else ""


def _error(name: str) -> str:
    """Return an exception's name if Python or a known package defines it, else ``Error``."""
    return name if hasattr(builtins, name) or name.partition(".")[0] in _NAMED_PACKAGES else "Error"


def _frame(path: str, position: str, own: KnownStrings) -> str:
    """Return a stack frame in this program or in a library; empty for any other file."""
    library = _LIBRARY.fullmatch(path)
    file = next((file for file in own.files if path.endswith(f"/{file}")), library[1] if library else "")
    return f'  File "{file}", {position}' if file else ""


MIN_NAME = 2
MIN_SECRET = 6
"""Shorter names and secrets (in characters) are not replaced: they would match ordinary text."""

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
    """Return a function that replaces secrets, addresses, paths and names in a sentence.

    ``places`` and ``names`` map a path or a name to its replacement. The longest text is replaced first, so that of two
    nested paths both are recognised. Names are replaced as whole words in any case.
    """
    exact = {**{secret: SECRET for secret in secrets if len(secret) >= MIN_SECRET}, **places}
    texts = [(text, by) for text, by in sorted(exact.items(), key=lambda one: -len(one[0])) if len(text) > 1]
    words = [
        (re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE), by)
        for name, by in sorted(names.items(), key=lambda one: -len(one[0]))
        if len(name) >= MIN_NAME
    ]

    def redact(text: str) -> str:
        for old, new in texts:
            text = text.replace(old, new)
        for pattern, new in (*_PATTERNS, *words):
            text = pattern.sub(new, text)
        return text

    return redact
