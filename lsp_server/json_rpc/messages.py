"""Untrusted JSON-RPC messages: split the byte stream into bodies, parse them, and structure their parameters.

* Framing (LSP 3.17, base protocol): headers and bodies are bounded, so a client's error costs at most its own message.
  After an invalid header the reader looks for the next ``Content-Length`` line.
* Parsing: the id of a request is searched even in invalid JSON, so that the request gets an error response.
* Parameters become lsprotocol's types. Enum values of later LSP versions are tolerated.
"""

from __future__ import annotations

import enum
import inspect
import json
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import cattrs
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.protocol import default_converter

log = logging.getLogger(__name__)

SEARCHED = 2**20
"""Characters of invalid JSON that are searched for a request's id."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+', re.DOTALL)

Id = int | str


LARGEST_BODY = 128 * 2**20
"""Bytes. Editors send documents of up to some tens of megabytes."""

CHUNK = 2**16
"""Bytes to read at once: the capacity of a pipe."""

LONGEST_LINE = 8_192
"""Bytes of a header line. Only the end of a longer one is kept."""

_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*\r?\n\Z", re.IGNORECASE)
_FIELD = re.compile(rb"[\w-]+:(?<!content-length:)", re.IGNORECASE)

Read = Callable[[int], Awaitable[bytes]]
"""Return at most this many bytes when some are available; none at the end of the stream."""

LONGEST_REASON = 500

URIS = {"uri", "rootUri", "rootPath", "oldUri", "newUri", "repository"}
"""Names of members that are URIs or paths, at any depth of the parameters."""


class Bodies:
    """The message bodies of a stream. An incomplete body at its end is dropped."""

    def __init__(self, read: Read, largest: int = LARGEST_BODY) -> None:
        self._read = read
        self._largest = largest
        self._buffer = bytearray()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (length := await self._header()) is not None:
            if length > self._largest:
                log.error("Skipped a message of %d bytes; the limit is %d.", length, self._largest)
                await self._skip(length)
            elif not await self._holds(length):
                return
            elif length:
                yield self._take(length)

    async def _header(self) -> int | None:
        """Return the length of the next body, or None at the end of the stream."""
        length = None
        while line := await self._line():
            if found := _LENGTH.search(line):
                length = int(found[1])
            elif not line.strip():
                if length is not None:
                    return length
            elif not _FIELD.match(line):
                log.warning("Skipped bytes that are not a valid message header.")
        return None

    async def _line(self) -> bytes:
        """Return the next line, or the end of an overlong one; nothing at the end of the stream."""
        while (end := self._buffer.find(b"\n")) < 0:
            del self._buffer[:-LONGEST_LINE]
            if not await self._fill():
                return b""
        return self._take(end + 1)

    async def _holds(self, length: int) -> bool:
        """Read until the buffer has ``length`` bytes. Return False if the stream ends before."""
        while len(self._buffer) < length:
            if not await self._fill():
                return False
        return True

    async def _skip(self, length: int) -> None:
        """Discard bytes without buffering them."""
        while length and (self._buffer or await self._fill()):
            length -= len(self._take(min(length, len(self._buffer))))

    async def _fill(self) -> bool:
        chunk = await self._read(CHUNK)
        self._buffer += chunk
        return bool(chunk)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


class NotJsonError(ValueError):
    """A message that cannot be parsed. ``id`` is the id of the request, if one was found."""

    def __init__(self, reason: str, id_: Id | None) -> None:
        super().__init__(reason)
        self.id = id_


def parse(body: bytes) -> Any:
    """Parse a message's body; invalid UTF-8 becomes U+FFFD. Raises NotJsonError."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        log.warning("A message is not valid UTF-8. Its invalid bytes are replaced.")
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
    """Return the id of a request in invalid JSON; None if it is not found."""
    members = _outer_members(text[:SEARCHED])
    if '"method"' not in members:
        return None
    try:
        found = json.loads(members.get('"id"', "null"))
    except ValueError:
        return None
    return found if is_id(found) else None


def as_object(value: Any) -> Any:
    """Convert JSON objects to namespaces, at any depth: the parameters of custom methods."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(one) for name, one in value.items()})
    return [as_object(one) for one in value] if isinstance(value, list) else value


def _outer_members(text: str) -> dict[str, str]:
    """Return the first token of each member of the outermost object, by the name's token."""
    depth, members, name, before = 0, {}, "", ""
    for part in (one.group() for one in _TOKEN.finditer(text)):
        if depth == 1 and before == ":":
            members.setdefault(name, part)
        elif depth == 1 and part != ":":
            name = part
        depth += (part in "[{") - (part in "]}")
        before = part
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """Parse a float. Python would write an infinite one as a word that is not JSON."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def tolerant_converter() -> cattrs.Converter:
    """Return pygls's converter, which in addition makes a new enum member of an unknown value."""
    converter = default_converter()
    for kind in filter(_is_enum, vars(types).values()):
        converter.register_structure_hook(kind, _member)
        for union in (kind | _base(kind), kind | _base(kind) | None):
            converter.register_structure_hook(union, _value)
    for kind in (int | str, int | str | None):
        converter.register_structure_hook(kind, _scalar)
    return converter


def structured(converter: cattrs.Converter, method: str, params: Any) -> Any:
    """Convert ``params`` to the type of ``method``: None if it has no parameters, namespaces for a custom method.

    Raises JsonRpcInvalidParams.
    """
    try:
        _check_uris(params)
        if method not in types.METHOD_TO_TYPES:
            return as_object(params)
        kind = types.METHOD_TO_TYPES[method][2]
        return None if kind is None else converter.structure({} if params is None else params, kind)
    except Exception as error:
        raise JsonRpcInvalidParams(f"Invalid params of '{method}': {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Describe the error and its location without quoting the parameters."""
    if isinstance(error, cattrs.BaseValidationError):
        return "; ".join(cattrs.transform_error(error))[:LONGEST_REASON]
    return str(error) if type(error) is ValueError else type(error).__name__


def _check_uris(value: Any) -> None:
    """Raise ValueError for a URI that no file can have. Every later use of it would fail."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name in URIS and isinstance(one, str):
                urlsplit(one)
                if "\0" in unquote(one) or not _is_unicode(one):
                    raise ValueError(f"'{name}' has characters that no path can have")
            _check_uris(one)
    elif isinstance(value, list):
        for one in value:
            _check_uris(one)


def _is_unicode(text: str) -> bool:
    """Return whether there are no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scalar(value: Any, kind: Any) -> Any:
    """Reject lists and objects as ids and tokens. lsprotocol accepts them, but they are not hashable."""
    if isinstance(value, dict | list):
        raise TypeError("expected an integer or a string")
    return value


def _is_enum(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, enum.Enum)


def _base(kind: Any) -> type[int] | type[str]:
    return int if issubclass(kind, int) else str


def _value(value: Any, union: Any) -> Any:
    """Return an open enum's value unchanged if its type is right. lsprotocol would accept numbers as strings."""
    if isinstance(value, union):
        return value
    raise TypeError(f"expected {union}")


def _member(value: Any, kind: Any) -> Any:
    """Return the enum member with this value, a new one if needed. It serialises to the same value."""
    try:
        return kind(value)
    except ValueError:
        base: Any = _base(kind)
        if type(value) is not base:
            raise
        member = base.__new__(kind, value)
        member._name_, member._value_ = "unknown", value
        return member
