"""Parameters of our own requests: pygls gives them as nested tuples with names. What is wrong in them is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from lsp_server.edits.document import Document


def plain(value: Any) -> Any:
    """The JSON it was made from."""
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def text_of(given: Any, name: str) -> str:
    """A text that must be there. Raises JsonRpcInvalidParams."""
    value = given.get(name) if isinstance(given, Mapping) else None
    if not isinstance(value, str) or not value.strip():
        raise JsonRpcInvalidParams(f"'{name}' must be a text.")
    return value


def span_of(document: Document, where: Any) -> tuple[int, int]:
    """The offsets of a range. Raises JsonRpcInvalidParams."""
    try:
        places = [where[end] for end in ("start", "end")]
        start, stop = (document.offset(int(one["line"]), int(one["character"])) for one in places)
    except (TypeError, KeyError, ValueError) as error:
        raise JsonRpcInvalidParams("'range' must be a range.") from error
    return start, max(start, stop)
