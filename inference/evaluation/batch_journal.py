"""An append-only journal of results in batches, one JSON object a line, so that a killed evaluation can resume.

A batch is stored under a key of everything that decides its results. An incomplete batch is computed again as a whole:
sums in a batch of another size round differently.
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
    """Return a digest of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class BatchJournal:
    """An append-only file of batches, safe to use from several threads of one process. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._batches: dict[str, dict[int, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._read()

    def recall(self, key: str, size: int) -> Rows | None:
        """Return the rows of a batch, or None if it is not complete."""
        rows = self._batches.get(key, {})
        return [dict(rows[n]) for n in range(size)] if all(n in rows for n in range(size)) else None

    def keep(self, key: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        """Append one batch and flush it to disk. ``names`` label the rows for people who read the file."""
        named = enumerate(zip(rows, names, strict=True))
        entries = [{"batch": key, "n": n, "of": name, "row": row} for n, (row, name) in named]
        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogatepass")
        with self._lock, self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        """Read the file up to the first damaged line, and truncate it there: a kill can cut a line short."""
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
