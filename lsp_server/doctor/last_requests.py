"""``codellama-ls doctor --last``: the last requests of all editor sessions, with the reason if nothing was shown.

Reads the request log that the language servers write; contacts neither a server nor an engine.
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
    "same": "from the cache",
    "typed": "the rest of the displayed suggestion, without a model call",
    "running": "from a generation begun at an earlier key",
}
_ENDINGS = {
    "end": "",
    "rule": "",
    "suffix": "",
    "stop": "",
    "length": "cut at completion.maxTokens",
    "deadline": "cut at completion.deadlineMs",
}


def print_last_requests(count: int, *, as_json: bool) -> int:
    """Print the last ``count`` requests. Return exit status 1 if the log cannot be read."""
    try:
        records = trace.last_requests(max(count, 1))
    except (NotPrivateError, OSError) as error:
        sys.stderr.write(f"codellama-ls: {error}\n")
        return 1
    if as_json:
        sys.stdout.write(json.dumps(records, indent=2) + "\n")
    elif records:
        # Piped output has no width; do not wrap or cut lines.
        Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table(records))
    else:
        sys.stdout.write(
            "No editor has requested a completion yet. Check that `codellama-ls --stdio` is set up in it.\n"
        )
    return 0


def table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a row per request, newest last.

    Columns: tokens prefilled, reused from the KV cache and generated; milliseconds of debounce and in total.
    """
    result = Table(box=None, pad_edge=False)
    for name in ("time", "position", "trigger", "result"):
        result.add_column(name, no_wrap=True)
    result.add_column("reason")
    for name in ("prefilled", "reused", "generated", "debounce", "ms"):
        result.add_column(name, justify="right", no_wrap=True)
    for record in records:
        result.add_row(*(escape(cell) for cell in _row(record)))
    return result


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    trigger = "invoked" if record["invoked"] else "typing"
    waited, total = record["stages"].get("debounce", 0.0), record["total_ms"]
    cells = (_time(record["at"]), _position(record), trigger, _result(record), explain_request(record))
    return *cells, *_tokens(record), f"{waited:.0f}" if waited else "", f"{total:.0f}"


def explain_request(record: Mapping[str, Any]) -> str:
    """Explain a request: the reason if nothing was shown, else the source of the text and how it was changed."""
    if record["result"] != "shown":
        return record["reason"]
    ending = _ENDINGS.get((record["outcome"] or {}).get("cause", ""), "")
    shortened = f"changed by: {record['filter']}" if record["filter"] else ""
    server = record.get("server") and f"answered by {record['server']}"
    return "; ".join(filter(None, (_SOURCES.get(record["source"], server), shortened, ending)))


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"


def _position(record: Mapping[str, Any]) -> str:
    path = unquote(urlsplit(record["uri"]).path)
    return f"{PurePosixPath(path).name or record['uri']}:{record['line'] + 1}"


def _result(record: Mapping[str, Any]) -> str:
    return f"{record['shown']} characters" if record["result"] == "shown" else f"none: {record['result']}"


def _tokens(record: Mapping[str, Any]) -> tuple[str, str, str]:
    outcome = record["outcome"]
    if outcome is None:
        return "", "", ""
    reused = outcome["reused_tokens"]
    return str(outcome["prompt_tokens"] - reused), str(reused), str(outcome["completion_tokens"])
