"""Mutate JSON values and encoded messages with a seeded random generator."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

from support.raw_client import framed

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 7, 99, 2**31, -(2**31), 2**53 + 1, 2**63, 10**40, 1.5, -0.0, 1e300),
    *("", " ", "\0", "\ud800", "a\udfffb", "💥" * 50, "e\u0301", "\r\n\t\u2028", "x" * 5_000, "[", "%s%n", "null"),
    *("future", "file:///", "file:///\0", "file://host/share/a.py", "file:///%ff%00", "file://[", "untitled:\ud800"),
    *("../../a", "a:b", [], {}, [None], [[[[]]]], {"": None}, {"\ud800": 1}, ["x"] * 500),
    *({"type_name": "class", "count": 1, "index": 2}, {"__class__": "x", "self": 1, "_": []}),
]

BAD_HEADERS = [
    b"Content-Length: many\r\n\r\n",
    b"Content-Length: -1\r\n\r\n",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length:\r\n\r\n",
    b"Content-Length: 340282366920938463463374607431768211456\r\n\r\n",
    b"Content-Type: text\r\n\r\n",
    b"\r\n\r\n",
    b"\xff\xfe\0\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"x" * 20_000,
]


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def mutated(rng: Random, value: Any, times: int) -> Any:
    """Return a copy in which ``times`` values are replaced, removed, added, renamed, wrapped or swapped."""
    holder = [copy.deepcopy(value)]
    for _ in range(times):
        parent, key = rng.choice(_members(holder))
        rng.choice((_replace, _replace, _replace, _remove, _add, _rename, _wrap, _swap))(rng, parent, key, holder)
    return holder[0] if holder else None


def _members(value: Any, parent: Any = None, key: Any = None) -> list[tuple[Any, Any]]:
    """Return every (container, key) below ``value``."""
    found = [] if parent is None else [(parent, key)]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in list(entries):
        found += _members(one, value, name)
    return found


def odd(rng: Random) -> Any:
    return nested(rng.choice((5, 90, 200))) if rng.random() < 0.03 else copy.deepcopy(rng.choice(ODD_VALUES))


def _replace(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    parent[key] = odd(rng)


def _remove(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    if parent is not holder:
        del parent[key]


def _add(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    if isinstance(parent[key], dict):
        parent[key][rng.choice(("", "extra", "jsonrpc", "id", "\ud800", "params"))] = odd(rng)
    elif isinstance(parent[key], list):
        parent[key].append(odd(rng))


def _rename(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    if isinstance(parent, dict):
        parent[f"{key}X"] = parent.pop(key)


def _wrap(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    parent[key] = rng.choice(([parent[key]], {"value": parent[key]}, str(parent[key])))


def _swap(rng: Random, parent: Any, key: Any, holder: list[Any]) -> None:
    other, name = rng.choice(_members(holder))
    if not isinstance(other[name], dict | list) and not isinstance(parent[key], dict | list):
        parent[key], other[name] = other[name], parent[key]


def damaged(rng: Random, message: dict[str, Any]) -> bytes:
    """Return a message with invalid bytes after its id and method, or with a wrong length.

    The next header can still be found.
    """
    body = json.dumps(message, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    keep = body.index(b'"params"') if b'"params"' in body else len(body)
    at = rng.randint(keep, len(body))
    kind = rng.randrange(4)
    if kind == 0:
        return framed(body[:at])
    if kind == 1:
        return framed(
            body[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"}", b'"', b"9" * 5_000)) + body[at:]
        )
    if kind == 2:
        return framed(body[:at] + b"[" * 100_000)
    shift = rng.choice((-9, -1, 1, 9))
    filler = framed(b'{"jsonrpc": "2.0", "method": "$/filler"}')  # consumed in part if the length is too large
    return b"Content-Length: %d\r\n\r\n%b%b" % (len(body) + shift, body, filler)
