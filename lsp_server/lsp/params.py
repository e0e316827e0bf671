"""Read and validate the parameters of custom requests and commands, and the client's experimental capabilities.

Request parameters are objects, command arguments are mappings. The functions raise JsonRpcInvalidParams with a message
for client authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document, Position

REQUEST_FAILED = -32803
"""``LSPErrorCodes.RequestFailed`` (LSP 3.17): the request is valid but cannot be fulfilled."""

_NAMES = {str: "a string", bool: "true or false", list: "a list"}

T = TypeVar("T", str, bool, list)


def member(params: Any, name: str, kind: type[T], default: T) -> T:
    """Return ``params.name``, or ``default`` if it is missing or null."""
    value = _of(params, name)
    if value is None:
        return default
    if type(value) is not kind:
        raise JsonRpcInvalidParams(f"'{name}' must be {_NAMES[kind]}.")
    return value


def required_text(params: Any, name: str) -> str:
    """Return ``params.name``, which must be a string that is not blank."""
    value = member(params, name, str, "")
    if not value.strip():
        raise JsonRpcInvalidParams(f"'{name}' must be a string that is not blank.")
    return value


def token(params: Any, name: str) -> str | int | None:
    """Return the progress token ``params.name``; None if there is none."""
    value = _of(params, name)
    if value is not None and type(value) not in (str, int):
        raise JsonRpcInvalidParams(f"'{name}' must be a string or a number.")
    return value


def document_uri(params: Any) -> str:
    """Return the URI of ``textDocument``, or an empty string."""
    return member(_of(params, "textDocument"), "uri", str, "")


def optional_range(params: Any) -> tuple[Position, Position] | None:
    """Return the ``range`` of ``params``, in the client's code units."""
    value = _of(params, "range")
    if value is None:
        return None
    return _position(value, "start"), _position(value, "end")


def offsets(document: Document, params: Any) -> tuple[int, int]:
    """Return the required ``range`` as offsets into a document. A reversed range becomes an empty one."""
    found = optional_range(params)
    if found is None:
        raise JsonRpcInvalidParams("'range' must be a range.")
    start, stop = (document.offset(position.line, position.character) for position in found)
    return start, max(start, stop)


def request_failed(message: str) -> JsonRpcException:
    """Return the error for a request that cannot be fulfilled; the client shows ``message`` to the user."""
    return JsonRpcException(message, code=REQUEST_FAILED)


def _position(holder: Any, name: str) -> Position:
    value = _of(holder, name)
    line, character = _of(value, "line"), _of(value, "character")
    if type(line) is not int or type(character) is not int or min(line, character) < 0:
        raise JsonRpcInvalidParams(f"'range.{name}' must be a position with a line and a character of at least 0.")
    return Position(line, character)


def _of(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def announces(server: CodeLlamaServer, name: str) -> bool:
    """Return whether the client announces ``name`` under its ``experimental`` capabilities."""
    experimental: Any = server.client_capabilities.experimental
    found = experimental.get(name) if isinstance(experimental, Mapping) else getattr(experimental, name, False)
    return bool(found)
