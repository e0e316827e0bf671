"""Parameters of our own requests, which come as objects of any shape: taken by name and checked. Knows no meaning.

Raises JsonRpcInvalidParams, with a sentence for who writes a client.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from lsp_server.snapshot import Position

REQUEST_FAILED = -32803
"""LSP 3.17, ``LSPErrorCodes.RequestFailed``: the request was right, and what it wanted can't be had."""

_NAMES = {str: "a string", bool: "true or false", list: "a list"}

T = TypeVar("T", str, bool, list)


def member(params: Any, name: str, kind: type[T], default: T) -> T:
    """``params.name``, or ``default`` where it is missing or null."""
    value = getattr(params, name, None)
    if value is None:
        return default
    if type(value) is not kind:
        raise JsonRpcInvalidParams(f"'{name}' must be {_NAMES[kind]}.")
    return value


def token(params: Any, name: str) -> str | int | None:
    """A progress token."""
    value = getattr(params, name, None)
    if value is not None and type(value) not in (str, int):
        raise JsonRpcInvalidParams(f"'{name}' must be a string or a number.")
    return value


def document_uri(params: Any) -> str:
    """That of ``textDocument``, or an empty string."""
    return member(getattr(params, "textDocument", None), "uri", str, "")


def span(params: Any) -> tuple[Position, Position] | None:
    """The ``range`` of ``params``, in the client's code units."""
    value = getattr(params, "range", None)
    if value is None:
        return None
    return _position(value, "start"), _position(value, "end")


def failed(why: str) -> JsonRpcException:
    """To be raised where a request can't be answered; ``why`` is for the person."""
    return JsonRpcException(why, code=REQUEST_FAILED)


def _position(holder: Any, name: str) -> Position:
    value = getattr(holder, name, None)
    line, character = getattr(value, "line", None), getattr(value, "character", None)
    if type(line) is not int or type(character) is not int or min(line, character) < 0:
        raise JsonRpcInvalidParams(f"'range.{name}' must be a position: a line and a character from 0 on.")
    return Position(line, character)
