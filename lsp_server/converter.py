"""Turn the JSON of a method's parameters into lsprotocol's types, and tolerate enum values of later LSP versions."""

from __future__ import annotations

import enum
import inspect
from typing import Any

import cattrs
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.protocol import default_converter

from lsp_server.messages import as_object

LONGEST_REASON = 500


def tolerant_converter() -> cattrs.Converter:
    """Return pygls's converter; an unknown enum value becomes a member of its own that has this value."""
    converter = default_converter()
    for kind in filter(_is_enum, vars(types).values()):
        converter.register_structure_hook(kind, _member)
    return converter


def structured(converter: cattrs.Converter, method: str, params: Any) -> Any:
    """Return ``params`` as the type of ``method``: None if it takes none, plain objects if LSP doesn't define it.

    Raises JsonRpcInvalidParams.
    """
    try:
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
    return type(error).__name__


def _is_enum(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, enum.Enum)


def _member(value: Any, kind: Any) -> Any:
    """Return the member of ``kind`` that has this value. It can be sent back to the client as it came."""
    try:
        return kind(value)
    except ValueError:
        base: Any = int if issubclass(kind, int) else str
        if type(value) is not base:
            raise
        member = base.__new__(kind, value)
        member._name_, member._value_ = "unknown", value
        return member
