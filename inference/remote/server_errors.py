"""Errors of a remote server as one sentence each: it names the server, what happened and what to do.

Some servers repeat what they were sent, and these sentences end in the trace and in the usage statistics, which hold no
code. So a server's own words are quoted only while it is probed, with a request that contains none of the user's code.

Source: RFC 9110, sections 10.2.3 and 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from inference.api.engine_errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.fields import parse_json
from inference.api.status import Status

DEFAULT_RETRY = 2.0
"""Seconds to wait for a busy server that names no time."""

SHORTEST_RETRY = 1.0
"""Seconds to wait for a server that names no time to wait, or one that has passed: never retry in a tight loop."""

LONGEST_RETRY = 600.0
"""Seconds; a longer wait is cut to this."""

LONGEST_QUOTE = 200
"""Characters of a server's own words."""


class UnusableServer(EngineError):
    """The user must change something: the token, the address, or a server without OpenAI's API or a needed feature."""


class ServerBusy(EngineUnavailable):
    """The server cannot respond now.

    Attributes:
        retry_seconds: when to try again.
        status: an engine's own status; None for other servers.
    """

    def __init__(self, message: str, retry_seconds: float, status: Status | None = None) -> None:
        super().__init__(message)
        self.retry_seconds, self.status = retry_seconds, status


@contextmanager
def connection_errors(server: str) -> Iterator[None]:
    """Raise ``EngineUnavailable`` for errors of the connection. ``server`` is its name in sentences."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise EngineUnavailable(f"{server} cannot be reached: it did not respond in time.") from error
    except httpx.ConnectError as error:
        raise EngineUnavailable(_unreachable(server, str(error))) from error
    except httpx.TimeoutException as error:
        raise EngineUnavailable(f"{server} stopped responding in the middle of a request.") from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise EngineUnavailable(f"{server} closed the connection in the middle of a request.") from error


def refusal(server: str, status: int, headers: Mapping[str, str], body: bytes, *, quote: bool = False) -> EngineError:
    """Return the error for an HTTP status other than 200. ``quote`` adds the server's own words."""
    words = _quoted(body) if quote else ""
    if status in (429, 503):
        seconds = max(retry_after(headers.get("retry-after", ""), datetime.now(UTC)), SHORTEST_RETRY)
        return ServerBusy(f"{server} is busy or not ready yet; retrying in {seconds:.0f} s{words}.", seconds)
    if status == 404 and blames_model(body):
        return ModelRefused(f"{server} does not have the requested model{words}.")
    if advice := _advice(status):
        return UnusableServer(f"{server} {advice}{words if status in (401, 403) else ''}.")
    if status in (400, 413, 422, 501) or (quote and status == 500):  # some fail with 500 for unknown fields
        return BadRequest(f"{server} refused a request (HTTP {status}){words}.")
    return EngineUnavailable(f"{server} failed (HTTP {status}){words}.")


def _advice(status: int) -> str:
    """Return what the user must change after an HTTP status, or ""."""
    if status in (401, 403):
        return (
            "rejected the token, or requires one. Put the token you were given into remote.toml or "
            "CODELLAMA_LS_ENGINE_TOKEN"
        )
    if 300 <= status < 400:
        return "redirects to another address. Set the address that it redirects to"
    return "does not offer OpenAI's API. Check the address" if status in (404, 405) else ""


def unexpected_response(server: str) -> UnusableServer:
    """Return the error for a response of unknown shape."""
    return UnusableServer(f"{server} does not respond as OpenAI's API does. Check the address.")


def incomplete_response(server: str) -> EngineUnavailable:
    """Return the error for a stream that ended without a finish reason."""
    return EngineUnavailable(f"{server} broke off in the middle of a response.")


def oversized_response(server: str) -> EngineUnavailable:
    """Return the error for a response beyond all limits."""
    return EngineUnavailable(f"{server} sent a response that does not end.")


def retry_after(value: str, now: datetime) -> float:
    """Parse a ``Retry-After`` header, a number or a date, to seconds; anything else is ``DEFAULT_RETRY``."""
    try:
        seconds = float(value) if value.strip().isdecimal() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):
        return DEFAULT_RETRY
    return min(max(seconds, 0.0), LONGEST_RETRY)


def blames_model(body: bytes) -> bool:
    """Return whether OpenAI's ``error`` is about the model. vLLM says so in ``code`` or the message alone."""
    error = _error(body)
    if not isinstance(error, Mapping):
        return False
    message = str(error.get("message", "")).lower()
    return error.get("param") == "model" or error.get("code") == "model_not_found" or "model" in message


def _unreachable(server: str, reason: str) -> str:
    if "CERTIFICATE" in reason.upper():
        return (
            f"{server} has no certificate that this machine trusts. Install its authority's certificate, or name the "
            "certificate's file in SSL_CERT_FILE."
        )
    return f"{server} cannot be reached. Check that it is running, and its address."


def _quoted(body: bytes) -> str:
    """Return an error's message, shortened, for the end of a sentence."""
    error = _error(body)
    text = error.get("message") if isinstance(error, Mapping) else error
    if not isinstance(text, str) or not text.strip():
        return ""
    line = "".join(char if char.isprintable() else " " for char in text.strip())
    return f" (it says: {line[:LONGEST_QUOTE].rstrip('. ')})"


def _error(body: bytes) -> Any:
    """Return OpenAI's ``error`` or FastAPI's ``detail``; None for other bodies."""
    try:
        parsed = parse_json(body)
    except ValueError:
        return None
    return (parsed.get("error") or parsed.get("detail")) if isinstance(parsed, dict) else None
