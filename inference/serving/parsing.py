"""Parse untrusted JSON: a client's request or another server's answer. Knows no shapes; torch-free."""

from __future__ import annotations

import json
from typing import Any

SURROGATE = "\\ud"
"""How JSON begins to spell one."""


def parse_json(body: bytes) -> Any:
    """Parse ``body``. Raises ValueError where it is no JSON in UTF-8 (RFC 8259), or nested deeper than can be read.

    JSON can spell half a surrogate pair, which is no character and can't be written on: it becomes U+FFFD. Bytes are
    decoded here, as ``json.loads`` would also take other encodings, and halves of pairs in UTF-8.
    """
    text = body.decode("utf-8-sig")
    try:
        parsed = json.loads(text)
        return _spellable(parsed) if SURROGATE in text.lower() else parsed
    except RecursionError as error:
        raise ValueError(str(error)) from error


def _spellable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_spellable(one) for one in value]
    if isinstance(value, dict):
        return {_spellable(name): _spellable(one) for name, one in value.items()}
    return value
