"""The last requests of all of a person's windows in one file, for ``codellama-ls doctor``. Knows no LSP.

The file lies beside the engine's socket, in a folder that only its user can enter, and holds what the trace holds:
names of documents, counts and times, no code.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from inference.serving.private import NotPrivate, runtime_folder
from lsp_server.completion.trace import Record

log = logging.getLogger(__name__)

LARGEST = 500_000
"""Bytes; then a new file is begun, and the one before is kept until the next time."""


class Journal:
    """Where a window's server writes. What can't be written is missing there, and nowhere else."""

    def __init__(self) -> None:
        self._broken = False

    def add(self, record: Record) -> None:
        """Append one line. One write to a file opened for appending: windows do not mix their lines."""
        if self._broken:
            return
        try:
            path = _path()
            _turn_over(path)
            line = json.dumps(record.to_json()).encode() + b"\n"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except (OSError, NotPrivate) as error:
            self._broken = True
            log.warning("requests are not recorded for `codellama-ls doctor`: %s", error)


def last(count: int) -> list[dict[str, Any]]:
    """The last ``count`` requests, newest last. Raises ``NotPrivate`` or ``OSError``."""
    path = _path()
    lines = [line for part in (_before(path), path) for line in _lines(part)]
    return [record for line in lines[-count:] for record in _parsed(line)]


def _turn_over(path: Path) -> None:
    try:
        full = path.stat().st_size > LARGEST
    except FileNotFoundError:
        return
    if full:
        path.replace(_before(path))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    return text.splitlines()


def _parsed(line: str) -> list[dict[str, Any]]:
    """Nothing where a full disk cut the line short."""
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def _path() -> Path:
    return runtime_folder() / "requests.jsonl"


def _before(path: Path) -> Path:
    return path.with_name("requests.before.jsonl")
