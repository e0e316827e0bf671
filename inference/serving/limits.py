"""What one request, and all of them together, may take; beyond it they are refused in words, and soon.

Knows HTTP bodies and queues, no models. A refusal says when to come again wherever that makes sense.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from inference.serving.parsing import parse_json
from inference.serving.router import RefusedError
from inference.serving.scheduler import Scheduler
from inference.serving.wire import WireError, error_body

LARGEST_BODY = 8 * 1024 * 1024

MOST_WAITING = 128
"""Answers queued or under way; more would only wait longer than anybody does."""

MOST_OF_ONE = 32
"""Those of one window, so that none fills the queue for all."""

RETRY_SECONDS = "2"


async def json_body(http: Request) -> Any:
    """The parsed body. Raises ``WireError`` where it is no JSON, RefusedError where it is too large."""
    declared = http.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise _too_large()
    try:
        return parse_json(bytes(body))
    except ValueError as error:
        raise WireError(f"The request's body is not JSON: {error}.") from error


def check_room(scheduler: Scheduler, window: str, answers: int) -> None:
    """Raises RefusedError where so many more ``answers`` for a ``window`` are too many."""
    if scheduler.waiting_for(window) + answers > MOST_OF_ONE:
        text = f"{MOST_OF_ONE} answers for you are waiting already: take those first."
        code = "too_many_of_yours"
    elif scheduler.waiting + answers > MOST_WAITING:
        text, code = f"{MOST_WAITING} answers are waiting already: come again in a moment.", "queue_full"
    else:
        return
    raise RefusedError(429, error_body(text, "rate_limit_error", code=code), {"Retry-After": RETRY_SECONDS})


def _too_large() -> RefusedError:
    text = f"The request's body is larger than {LARGEST_BODY // 2**20} MiB."
    return RefusedError(413, error_body(text, "invalid_request_error", code="body_too_large"), {"Connection": "close"})
