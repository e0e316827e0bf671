"""Parse untrusted JSON and check its fields: types, ranges and lengths. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from inference.errors import CodeLlamaError

T = TypeVar("T")

LONGEST_NAME = 256
"""Characters in the name of a model or a user."""

LONGEST_SESSION = 16_384
"""Characters in the name of a session, a document's URI. Linux paths have up to 4,096 bytes, and an escaped byte takes
three characters."""

LONGEST_MESSAGE = 500
"""Characters of an error message, which may quote what the client sent."""

UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "echo": (False,), "best_of": (1,), "logit_bias": ({},), "frequency_penalty": (0,), "presence_penalty": (0,),
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "response_format": ({"type": "text"},),
}  # fmt: skip
"""OpenAI's fields that are not supported, and their values that have no effect. Other values are refused rather than
ignored."""


class WireError(CodeLlamaError, ValueError):
    """The body is not a valid request.

    Attributes:
        param: name of the invalid field; None if there is no single one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(_shortened(message))
        self.param = param and _shortened(param)


def request_fields(body: Any) -> Mapping[str, Any]:
    """Return the body's fields by name. Raises WireError if it is no object or needs an unsupported feature."""
    if not isinstance(body, dict):
        raise WireError("The request's body must be a JSON object.")
    for name, neutral in UNSUPPORTED.items():
        if body.get(name) is not None and body[name] not in neutral:
            raise WireError(f"'{name}' is not supported. Remove it.", name)
    return body


def typed(fields: Mapping[str, Any], name: str, kind: type[T], default: T, *, within: str = "") -> T:
    """Return a field of type ``kind``, or ``default`` if it is missing or null. Raises WireError.

    ``within`` is the path of the object that holds the fields, for the message.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        path = f"{within}.{name}" if within else name
        raise WireError(f"'{path}' must be {_article(kind)}, not {_article(type(value))}.", path)
    return value


def short_string(fields: Mapping[str, Any], name: str, most: int = LONGEST_NAME) -> str:
    """Return a string of at most ``most`` characters, or "" if it is missing or null. Raises WireError."""
    value = typed(fields, name, str, "")
    if len(value) > most:
        raise WireError(f"'{name}' must have at most {most:,} characters.", name)
    return value


def number(
    fields: Mapping[str, Any],
    name: str,
    default: float | None,
    limits: tuple[float, float],
    *,
    whole: bool = False,
    within: str = "",
) -> Any:
    """Return a number within the inclusive ``limits``, or ``default`` if it is missing or null. Raises WireError."""
    low, high = limits
    value = fields.get(name)
    if value is None:
        return default
    right = type(value) is int or (type(value) is float and not whole)
    if not right or not low <= value <= high:
        kind, path = "a whole number" if whole else "a number", f"{within}.{name}" if within else name
        raise WireError(f"'{path}' must be {kind} from {low} to {high}.", path)
    return value


def _article(kind: type) -> str:
    names = {str: "a string", bool: "true or false", dict: "an object", list: "a list"}
    return names.get(kind, "a number")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


SURROGATE = "\\ud"
"""Beginning of an escaped surrogate in JSON."""


def parse_json(body: bytes) -> Any:
    """Parse ``body``. Raises ValueError if it is not JSON in UTF-8 (RFC 8259), or nested too deeply for Python.

    A lone surrogate, which JSON can escape but UTF-8 cannot encode, becomes U+FFFD. ``json.loads`` is given text
    because it would also accept bytes in other encodings, and surrogates in UTF-8.
    """
    text = body.decode("utf-8-sig")
    try:
        parsed = json.loads(text)
        return _encodable(parsed) if SURROGATE in text.lower() else parsed
    except RecursionError as error:
        raise ValueError(str(error)) from error


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    if isinstance(value, dict):
        return {_encodable(name): _encodable(one) for name, one in value.items()}
    return value
