"""Checked fields of a request's JSON body: types, ranges and lengths. Each reader gives its fields a meaning.

Parse untrusted JSON: a client's request or another server's answer. Knows no shapes; torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from inference.api.errors import CodeLlamaError

T = TypeVar("T")

LONGEST_NAME = 256
"""Characters in the name of a model or a user."""

LONGEST_SESSION = 16_384
"""Characters in the name of a session, which is a document's URI: Linux paths have up to 4,096 bytes, each of which
takes three characters where it is escaped."""

LONGEST_MESSAGE = 500
"""Characters of an error message, which may quote what the client sent."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "echo": (False,), "best_of": (1,), "logit_bias": ({},), "frequency_penalty": (0,), "presence_penalty": (0,),
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "response_format": ({"type": "text"},),
}  # fmt: skip
"""OpenAI's fields that are not served here, and the values that ask for nothing. Others are refused: an answer that
ignores them would look like what was asked for."""


class WireError(CodeLlamaError, ValueError):
    """A body that is not a valid request. The message names the field; ``param`` is the field's name, if it is one."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(_shortened(message))
        self.param = param and _shortened(param)


def members(body: Any) -> Mapping[str, Any]:
    """The body's fields by name. Raises WireError where it is no object, or asks for what is not served."""
    if not isinstance(body, dict):
        raise WireError("The request's body must be a JSON object.")
    for name, neutral in NEUTRAL.items():
        if body.get(name) is not None and body[name] not in neutral:
            raise WireError(f"'{name}' is not supported here: leave it out.", name)
    return body


def typed(fields: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """A field of a kind, or ``default`` where it is missing or null. Raises WireError."""
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise WireError(f"'{name}' must be {_article(kind)}, not {_article(type(value))}.", name)
    return value


def short(fields: Mapping[str, Any], name: str, most: int = LONGEST_NAME) -> str:
    """A string of at most ``most`` characters, or "" where it is missing or null. Raises WireError."""
    value = typed(fields, name, str, "")
    if len(value) > most:
        raise WireError(f"'{name}' must have at most {most:,} characters.", name)
    return value


def number(
    fields: Mapping[str, Any], name: str, default: float | None, low: float, high: float, *, whole: bool = False
) -> Any:
    """A number from ``low`` to ``high``, or ``default`` where it is missing or null. Raises WireError."""
    value = fields.get(name)
    if value is None:
        return default
    right = type(value) is int or (type(value) is float and not whole)
    if not right or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise WireError(f"'{name}' must be {kind} from {low} to {high}.", name)
    return value


def _article(kind: type) -> str:
    names = {str: "a string", bool: "true or false", dict: "an object", list: "a list"}
    return names.get(kind, "a number")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


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
