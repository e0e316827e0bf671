"""Asking a server and reading what it says, as a whole or event by event; strict about the shape of both.

Knows HTTP, not what is asked for. Leaving a stream early closes the connection, which is how every server here is told
to stop. Source: OpenAI API reference, "Streaming".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from inference.remote.troubles import broken_off, endless, in_words, refused, strange
from inference.serving.client import EngineUnavailable
from inference.serving.events import event_data
from inference.serving.parsing import parse_json

LONGEST_REFUSAL = 65_536
"""Bytes of an error's body that are read."""

LONGEST_BODY, LONGEST_ANSWER = 8 * 1024 * 1024, 16 * 1024 * 1024
"""Bytes of what is asked for as a whole, and characters of all events of a stream. The longest answer that a setting
allows has some 8,000 events of a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Part:
    """One event of a streamed answer: text, and whatever else came with it."""

    text: str = ""
    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)


async def get_json(http: httpx.AsyncClient, where: str, path: str) -> tuple[int, httpx.Headers, bytes, Any]:
    """Status, headers, body, and the body's JSON or None. Raises ``EngineUnavailable``, also for a body without end."""
    with in_words(where):
        async with http.stream("GET", path) as answer:
            body = await _read(answer, LONGEST_BODY)
    if len(body) > LONGEST_BODY:
        raise endless(where)
    try:
        parsed = parse_json(body)
    except ValueError:
        parsed = None
    return answer.status_code, answer.headers, body, parsed


async def parts(
    http: httpx.AsyncClient, where: str, path: str, body: Mapping[str, Any], *, telling: bool = False
) -> AsyncGenerator[Part, None]:
    """The parts of a streamed answer. Raises ``EngineError``, also where it ends without having come to an end.

    With ``telling`` the server's own words are in the error.
    """
    ended, length = False, 0
    with in_words(where):
        async with http.stream("POST", path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                said = _secretless(http, await _read(answer, LONGEST_REFUSAL))
                raise refused(where, answer.status_code, answer.headers, said, telling=telling)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise strange(where)
            async for data in event_data(answer):
                if data == "[DONE]":
                    return
                if (length := length + len(data)) > LONGEST_ANSWER:
                    raise endless(where)
                part = _part(data, where)
                ended = ended or bool(part.reason)
                yield part
    if not ended:
        raise broken_off(where)


def _part(data: str, where: str) -> Part:
    try:
        event = parse_json(data.encode())
        if event.get("error"):
            raise EngineUnavailable(f"{where} failed in the middle of an answer.")
        choices = event["choices"]
        choice = choices[0] if choices else {}
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        told = text or "", choice.get("finish_reason") or "", event.get("usage") or {}, event.get("timings") or {}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise strange(where) from error
    if not all(isinstance(one, kind) for one, kind in zip(told, (str, str, Mapping, Mapping), strict=True)):
        raise strange(where)
    return Part(*told)


def _secretless(http: httpx.AsyncClient, refusal: bytes) -> bytes:
    """An error's body without the token: some servers repeat the one they do not know."""
    token = http.headers.get("authorization", "").removeprefix("Bearer ").encode()
    return refusal.replace(token, b"[token]") if token else refusal


async def _read(answer: httpx.Response, most: int) -> bytes:
    """The body; of one with more than ``most`` bytes its beginning, which has more."""
    body = bytearray()
    async for block in answer.aiter_bytes():
        body += block
        if len(body) > most:
            break
    return bytes(body)
