"""Turn the JSON of a method's parameters into lsprotocol's types, and tolerate enum values of later LSP versions."""

from __future__ import annotations

import enum
import inspect
from typing import Any
from urllib.parse import unquote, urlsplit

import cattrs
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.protocol import default_converter

from lsp_server.messages import as_object

LONGEST_REASON = 500

URIS = {"uri", "rootUri", "rootPath", "oldUri", "newUri", "repository"}
"""Members of parameters, at any depth, that are or name a path."""


def tolerant_converter() -> cattrs.Converter:
    """Return pygls's converter; an unknown enum value becomes a member of its own that has this value."""
    converter = default_converter()
    for kind in filter(_is_enum, vars(types).values()):
        converter.register_structure_hook(kind, _member)
        for union in (kind | _base(kind), kind | _base(kind) | None):
            converter.register_structure_hook(union, _value)
    for kind in (int | str, int | str | None):
        converter.register_structure_hook(kind, _scalar)
    return converter


def structured(converter: cattrs.Converter, method: str, params: Any) -> Any:
    """Return ``params`` as the type of ``method``: None if it takes none, plain objects if LSP doesn't define it.

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
    """Say what is missing or wrong, and where, without quoting the parameters."""
    if isinstance(error, cattrs.BaseValidationError):
        return "; ".join(cattrs.transform_error(error))[:LONGEST_REASON]
    return str(error) if type(error) is ValueError else type(error).__name__


def _check_uris(value: Any) -> None:
    """Raise ValueError for a URI with which no file can be looked for: every later use of it would fail."""
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
    """Refuse lists and objects as ids and tokens; lsprotocol takes them, and they can't be looked up."""
    if isinstance(value, dict | list):
        raise TypeError("an integer or a string is wanted")
    return value


def _is_enum(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, enum.Enum)


def _base(kind: Any) -> type[int] | type[str]:
    return int if issubclass(kind, int) else str


def _value(value: Any, union: Any) -> Any:
    """Return a value that may be one of an enum's or any other, as it came; lsprotocol lets numbers pass as strings."""
    if isinstance(value, union):
        return value
    raise TypeError(f"{union} is wanted")


def _member(value: Any, kind: Any) -> Any:
    """Return the member of ``kind`` that has this value. It can be sent back to the client as it came."""
    try:
        return kind(value)
    except ValueError:
        base: Any = _base(kind)
        if type(value) is not base:
            raise
        member = base.__new__(kind, value)
        member._name_, member._value_ = "unknown", value
        return member
