"""Parameters of our own requests and commands, of any shape: taken by name and checked. Knows no meaning.

Those of requests come as objects, those of commands as mappings. Raises JsonRpcInvalidParams, with a sentence for who
writes a client.

What a client says of itself under ``experimental``, as rust-analyzer's clients do. Knows no meaning of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document, Position

REQUEST_FAILED = -32803
"""LSP 3.17, ``LSPErrorCodes.RequestFailed``: the request was right, and what it wanted can't be had."""

_NAMES = {str: "a string", bool: "true or false", list: "a list"}

T = TypeVar("T", str, bool, list)


def member(params: Any, name: str, kind: type[T], default: T) -> T:
    """``params.name``, or ``default`` where it is missing or null."""
    value = _of(params, name)
    if value is None:
        return default
    if type(value) is not kind:
        raise JsonRpcInvalidParams(f"'{name}' must be {_NAMES[kind]}.")
    return value


def text(params: Any, name: str) -> str:
    """``params.name``, which must be there."""
    value = member(params, name, str, "")
    if not value.strip():
        raise JsonRpcInvalidParams(f"'{name}' must be a text.")
    return value


def token(params: Any, name: str) -> str | int | None:
    """A progress token."""
    value = _of(params, name)
    if value is not None and type(value) not in (str, int):
        raise JsonRpcInvalidParams(f"'{name}' must be a string or a number.")
    return value


def document_uri(params: Any) -> str:
    """That of ``textDocument``, or an empty string."""
    return member(_of(params, "textDocument"), "uri", str, "")


def span(params: Any) -> tuple[Position, Position] | None:
    """The ``range`` of ``params``, in the client's code units."""
    value = _of(params, "range")
    if value is None:
        return None
    return _position(value, "start"), _position(value, "end")


def offsets(document: Document, params: Any) -> tuple[int, int]:
    """The ``range`` of ``params``, which must be there, in a document; one that is backwards is empty."""
    where = span(params)
    if where is None:
        raise JsonRpcInvalidParams("'range' must be a range.")
    start, stop = (document.offset(place.line, place.character) for place in where)
    return start, max(start, stop)


def failed(why: str) -> JsonRpcException:
    """To be raised where a request can't be answered; ``why`` is for the person."""
    return JsonRpcException(why, code=REQUEST_FAILED)


def _position(holder: Any, name: str) -> Position:
    value = _of(holder, name)
    line, character = _of(value, "line"), _of(value, "character")
    if type(line) is not int or type(character) is not int or min(line, character) < 0:
        raise JsonRpcInvalidParams(f"'range.{name}' must be a position: a line and a character from 0 on.")
    return Position(line, character)


def _of(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def announces(server: CodeLlamaServer, name: str) -> bool:
    """Does the client's ``experimental`` capability say ``name``?"""
    experimental: Any = server.client_capabilities.experimental
    found = experimental.get(name) if isinstance(experimental, Mapping) else getattr(experimental, name, False)
    return bool(found)
