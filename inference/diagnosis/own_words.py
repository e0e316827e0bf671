"""What this program says of its own accord, read from its own source: all other words are somebody else's.

So a report can hold what is known to be harmless rather than leave out what is known to be harmful. Imports nothing of
what it reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from inference.models.catalog import CATALOG
from inference.models.shape import FORMATS

ELSE = "[left out]"
"""Stands for what was not said by this program."""

LEVELS = ("debug", "info", "warning", "error", "exception")

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?")
PLAIN = re.compile(r"-?\d[\d.,]*( ?(%|ms|s|MiB|GiB|tokens|dev\d+|rc\d+))?")
"""A number, a version or an amount."""

_PLACEHOLDER = re.compile(r"%[\d.]*([sdrf])")


@dataclass(frozen=True, slots=True)
class OwnWords:
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
def own_words(packages: tuple[Path, ...]) -> OwnWords:
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
    return OwnWords(frozenset(literals), tuple((text, _pattern(text)) for text in ordered), frozenset(files))


def _template(call: ast.Call) -> Iterator[str]:
    """The first argument of ``log.info("...")`` and the like."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS
    if named and call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        yield call.args[0].value


def _pattern(template: str) -> re.Pattern[str]:
    pieces = _PLACEHOLDER.split(template)  # text and kind of placeholder by turns
    return re.compile("".join("(.*?)" if n % 2 else re.escape(p.replace("%%", "%")) for n, p in enumerate(pieces)))
