"""Recorded texts: compare output with a file, or rewrite the file with ``RECORD=1``.

Prose for users is enclosed in « ». Changed lines without them are changes of behaviour:
``git diff tests/recordings | grep '^[-+]' | grep -v «``.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "recorded"
PROSE = frozenset({"message", "title", "reason", "detail", "description", "why", "limits", "crash", "label"})
"""Members whose value is prose."""
MASKED = frozenset({"version", "pid", "created", "processId", "resident_bytes", "gpu_bytes"})
"""Members whose value differs from run to run or from release to release, where it is not null."""
DOCUMENT_VERSION = ("version", int)
_MILLISECONDS = re.compile(r"_(ms|seconds)$|^(ms|stages|timings)$")
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{12,32}\b|(?<=/codellama-ls-)\w{8}(?=/)")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:\d\d)")
_INDENT = "  "
SHORT = 90
"""Characters of JSON that take one line."""


def compare(name: str, text: str) -> None:
    """Fail with a diff where ``text`` is not the recorded one; with ``RECORD=1`` record it instead."""
    path = FOLDER / name
    if os.environ.get("RECORD"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return
    recorded = path.read_text("utf-8") if path.exists() else ""
    if recorded != text:
        lines = difflib.unified_diff(recorded.splitlines(), text.splitlines(), f"recorded/{name}", "now", lineterm="")
        pytest.fail("\n".join([*lines, "Where this is intended, record it: RECORD=1 pytest tests/recordings"]), False)


class Mask:
    """Replaces what differs from run to run: given texts such as folders, and random ids by their order."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts = dict(sorted((texts or {}).items(), key=lambda one: -len(one[0])))
        self._ids: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return masked text."""
        for found, name in self._texts.items():
            text = text.replace(found, name)
        text = _INSTANT.sub("<instant>", text)
        return _ID.sub(lambda found: self._ids.setdefault(found[0], f"<id {len(self._ids) + 1}>"), text)

    def value(self, value: Any) -> Any:
        """Return masked JSON."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._member(str(name), one) for name, one in self._record(value).items()}
        return value

    def _record(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Mask the stages of superseded requests, which depend on timing."""
        return {**members, "stages": "<any>"} if members.get("result") == "superseded" else members

    def _member(self, name: str, value: Any) -> Any:
        if name in MASKED and value not in (None, "") and (name, type(value)) != DOCUMENT_VERSION:
            return f"<{name}>"
        if _MILLISECONDS.search(name) and value is not None:
            return dict.fromkeys(value, "<time>") if isinstance(value, Mapping) else "<time>"
        return self.value(value)


def rendered(value: Any) -> str:
    """Format JSON in its original order: on one line if it is short and has no prose, else one line a member."""
    return "\n".join(_lines(value, "", False))


def _lines(value: Any, indent: str, prose: bool) -> Iterable[str]:
    deeper, text = indent + _INDENT, json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and prose and value:
        yield f"«{text}»"
    elif not isinstance(value, Mapping | list) or (len(text) <= SHORT and not _has_prose(value, prose)):
        yield text
    else:
        opening, closing = "{}" if isinstance(value, Mapping) else "[]"
        yield opening
        for name, one in _members(value):
            first, *rest = _lines(one, deeper, name in PROSE or (prose and not name))
            yield f"{deeper}{name}{': ' if name else ''}{first}"
            yield from rest
        yield f"{indent}{closing}"


def _members(value: Mapping[str, Any] | list[Any]) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, Mapping) else (("", one) for one in value)


def _has_prose(value: Any, prose: bool) -> bool:
    if isinstance(value, Mapping | list):
        return any(_has_prose(one, name in PROSE or (prose and not name)) for name, one in _members(value))
    return prose and isinstance(value, str) and bool(value)
