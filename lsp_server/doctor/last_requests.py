"""``codellama-ls doctor --last``: the last requests of a person's editors, and why nothing was shown where nothing was.

Reads what the language servers left (``journal``); asks no server and no engine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference.system.runtime_folder import NotPrivateError
from lsp_server.completion import trace

_SOURCES = {
    "same": "as given here before",
    "typed": "the rest of what was shown, no model asked",
    "running": "what was being written for an earlier key",
}
_ENDINGS = {
    "end": "",
    "rule": "",
    "suffix": "",
    "stop": "",
    "length": "cut at completion.maxTokens",
    "deadline": "cut at completion.deadlineMs",
}


def show(count: int, *, as_json: bool) -> int:
    """Print the last ``count`` of them; exit status 1 where the records can't be read."""
    try:
        records = trace.last_requests(max(count, 1))
    except (NotPrivateError, OSError) as problem:
        sys.stderr.write(f"codellama-ls: {problem}\n")
        return 1
    if as_json:
        sys.stdout.write(json.dumps(records, indent=2) + "\n")
    elif records:
        # Piped output has no width of its own: none is better than cut sentences.
        Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table(records))
    else:
        sys.stdout.write("No editor has asked for a completion yet: is `codellama-ls --stdio` set up as its server?\n")
    return 0


def table(records: Sequence[Mapping[str, Any]]) -> Table:
    """One row a request, newest last: tokens the model read, had read already and wrote; milliseconds of debounce and
    in all.
    """
    drawn = Table(box=None, pad_edge=False)
    for name in ("when", "where", "asked", "answer"):
        drawn.add_column(name, no_wrap=True)
    drawn.add_column("why")
    for name in ("read", "reused", "written", "waited", "ms"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for record in records:
        drawn.add_row(*(escape(cell) for cell in _row(record)))
    return drawn


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    asked = "by hand" if record["invoked"] else "typing"
    waited, total = record["stages"].get("debounce", 0.0), record["total_ms"]
    what = (_when(record["at"]), _where(record), asked, _answer(record), why(record))
    return *what, *_tokens(record), f"{waited:.0f}" if waited else "", f"{total:.0f}"


def why(record: Mapping[str, Any]) -> str:
    """In plain words: why nothing was shown; of what was shown, where it came from and what was done to it."""
    if record["result"] != "shown":
        return record["reason"]
    ending = _ENDINGS.get((record["outcome"] or {}).get("cause", ""), "")
    shortened = f"changed by: {record['filter']}" if record["filter"] else ""
    server = record.get("server") and f"answered by {record['server']}"
    return "; ".join(filter(None, (_SOURCES.get(record["source"], server), shortened, ending)))


def _when(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"


def _where(record: Mapping[str, Any]) -> str:
    path = unquote(urlsplit(record["uri"]).path)
    return f"{PurePosixPath(path).name or record['uri']}:{record['line'] + 1}"


def _answer(record: Mapping[str, Any]) -> str:
    return f"{record['shown']} characters" if record["result"] == "shown" else f"none: {record['result']}"


def _tokens(record: Mapping[str, Any]) -> tuple[str, str, str]:
    outcome = record["outcome"]
    if outcome is None:
        return "", "", ""
    reused = outcome["reused_tokens"]
    return str(outcome["prompt_tokens"] - reused), str(reused), str(outcome["completion_tokens"])
