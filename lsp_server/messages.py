"""Parse untrusted JSON-RPC messages.

Knows the shape of a message and no method. A message that is not JSON is still searched for the id of a request, so
that it can be answered.
"""

from __future__ import annotations

import json
import logging
import math
import re
from types import SimpleNamespace
from typing import Any, NoReturn

log = logging.getLogger(__name__)

SEARCHED = 2**20
"""Characters of a message that is not JSON in which its id is looked for."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+', re.DOTALL)

Id = int | str


class NotJsonError(ValueError):
    """The message can't be parsed. ``id`` is that of the request it seems to be, if any."""

    def __init__(self, why: str, id_: Id | None) -> None:
        super().__init__(why)
        self.id = id_


def parse(body: bytes) -> Any:
    """Parse a message's body; invalid UTF-8 becomes U+FFFD. Raises NotJsonError."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        log.warning("A message is not valid UTF-8; its invalid bytes are replaced.")
        text = body.decode(errors="replace")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise NotJsonError("nested too deeply", request_id(text)) from None
    except ValueError as error:
        raise NotJsonError(str(error), request_id(text)) from None


def is_id(value: Any) -> bool:
    """Return whether LSP allows ``value`` as the id of a request."""
    return type(value) in (int, str)


def request_id(text: str) -> Id | None:
    """Return the id of a request whose JSON is damaged or can't be parsed; None if it can't be seen."""
    members = _outer_members(text[:SEARCHED])
    if '"method"' not in members:
        return None
    try:
        found = json.loads(members.get('"id"', "null"))
    except ValueError:
        return None
    return found if is_id(found) else None


def as_object(value: Any) -> Any:
    """Return parsed JSON with objects as attributes, at any depth: the parameters of our own methods."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(one) for name, one in value.items()})
    return [as_object(one) for one in value] if isinstance(value, list) else value


def _outer_members(text: str) -> dict[str, str]:
    """Return the first token of each member of the outermost object, by the name's token."""
    depth, members, name, before = 0, {}, "", ""
    for piece in (one.group() for one in _TOKEN.finditer(text)):
        if depth == 1 and before == ":":
            members.setdefault(name, piece)
        elif depth == 1 and piece != ":":
            name = piece
        depth += (piece in "[{") - (piece in "]}")
        before = piece
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """Python would write an infinite number as a word that is not JSON."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
