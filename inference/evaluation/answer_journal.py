"""Every answer as soon as it is there, one JSON object a line, so that an evaluation killed can go on.

Answers are kept by batch, under a key made of all that decides them: a batch of which the last line is missing is asked
again as a whole, because the sums of a batch of another size round otherwise. Knows not what is in the answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def key_of(*parts: object) -> str:
    """A digest of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class AnswerJournal:
    """An append-only file of batches, for all threads of a process. Raises OSError as files do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._batches: dict[str, dict[int, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._read()

    def recall(self, key: str, size: int) -> Rows | None:
        """The answers of this batch, or None where they are not all there."""
        rows = self._batches.get(key, {})
        return [dict(rows[n]) for n in range(size)] if all(n in rows for n in range(size)) else None

    def keep(self, key: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        """Append one batch; it is on the disk when this returns. ``names`` are for people who read the file."""
        named = enumerate(zip(rows, names, strict=True))
        entries = [{"batch": key, "n": n, "of": name, "row": row} for n, (row, name) in named]
        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogatepass")
        with self._lock, self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        """Take in what is there, up to where a kill cut it short; what is behind that is removed."""
        data = self.path.read_bytes() if self.path.exists() else b""
        end = 0
        for line in data.splitlines(keepends=True):
            try:
                entry = json.loads(line)
                key, n, row = entry["batch"], entry["n"], dict(entry["row"])
            except (ValueError, TypeError, KeyError):
                break
            if not line.endswith(b"\n"):
                break
            self._batches.setdefault(key, {})[n] = row
            end += len(line)
        if end < len(data):
            os.truncate(self.path, end)
