"""What can go wrong between here and a server, in one sentence each that names it and says what to do.

While a person works, a server's own words are not passed on: some repeat what they were sent, and these sentences end
in the trace and in the journal, which hold no code. Knows no requests. Source: RFC 9110, sections 10.2.3 and 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from inference.api.errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.fields import parse_json
from inference.api.status import Status

USUAL_REST = 2.0
"""Seconds to leave a server alone that is busy and does not say for how long."""

SHORTEST_REST = 1.0
"""Seconds before one that says "at once", or whose date has passed, is asked again: not in a loop without a pause."""

LONGEST_REST = 600.0
"""A server that asks for more is asked again after this."""

LONGEST_WORDS = 200


class NotAdmitted(EngineError):
    """The server wants another token, or one at all."""


class NotUnderstood(EngineError):
    """What answers there does not speak OpenAI's language, or cannot do what is needed."""


class Busy(EngineUnavailable):
    """The server can't answer now, and may be asked again after ``rest`` seconds; ``status`` where it is our own."""

    def __init__(self, message: str, rest: float, status: Status | None = None) -> None:
        super().__init__(message)
        self.rest, self.status = rest, status


@contextmanager
def in_words(where: str) -> Iterator[None]:
    """What the connection to the server at ``where`` raises, as ``EngineUnavailable`` or ``NotUnderstood``."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise EngineUnavailable(f"{where} can't be reached: it did not answer in time.") from error
    except httpx.ConnectError as error:
        raise EngineUnavailable(_unreachable(where, str(error))) from error
    except httpx.TimeoutException as error:
        raise EngineUnavailable(f"{where} has stopped answering in the middle of a request.") from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise EngineUnavailable(f"{where} has gone in the middle of a request.") from error


def refused(where: str, status: int, headers: Mapping[str, str], body: bytes, *, telling: bool = False) -> EngineError:
    """The error for an answer that is not 200; with ``telling`` its own words are in it."""
    said = _words(body) if telling else ""
    if status in (401, 403):
        return NotAdmitted(
            f"{where} does not accept the token, or wants one: put the one you were given into remote.toml or "
            f"CODELLAMA_LS_ENGINE_TOKEN{said}."
        )
    if status in (429, 503):
        rest = max(retry_after(headers.get("retry-after", ""), datetime.now(UTC)), SHORTEST_REST)
        return Busy(f"{where} is busy or not ready yet, and is asked again in {rest:.0f} s{said}.", rest)
    if status == 404 and names_model(body):
        return ModelRefused(f"{where} does not have the model that it is asked for{said}.")
    if status in (404, 405) or 300 <= status < 400:
        advice = (
            "is no server with OpenAI's API: check the address"
            if status >= 400
            else "redirects elsewhere, which is not followed: set the address it redirects to"
        )
        return NotUnderstood(f"{where} {advice}.")
    if status in (400, 413, 422, 501) or (telling and status == 500):  # some can only fail at what they do not know
        return BadRequest(f"{where} refused a request (HTTP {status}){said}.")
    return EngineUnavailable(f"{where} failed (HTTP {status}){said}.")


def strange(where: str) -> NotUnderstood:
    """For an answer of no known shape."""
    return NotUnderstood(f"{where} answers in a way that is not OpenAI's API: check the address.")


def broken_off(where: str) -> EngineUnavailable:
    """For an answer without an end."""
    return EngineUnavailable(f"{where} broke off in the middle of an answer.")


def endless(where: str) -> EngineUnavailable:
    """For an answer that goes on and on."""
    return EngineUnavailable(f"{where} does not come to an end with an answer.")


def retry_after(value: str, now: datetime) -> float:
    """Seconds to wait, of a ``Retry-After`` header: a number, or a date; what is neither is ``USUAL_REST``."""
    try:
        seconds = float(value) if value.strip().isdecimal() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):
        return USUAL_REST
    return min(max(seconds, 0.0), LONGEST_REST)


def names_model(body: bytes) -> bool:
    """Whether an error in OpenAI's shape blames the ``model`` (vLLM says it by its type or its words alone)."""
    error = _error(body)
    if not isinstance(error, Mapping):
        return False
    told = str(error.get("message", "")).lower()
    return error.get("param") == "model" or error.get("code") == "model_not_found" or "model" in told


def _unreachable(where: str, reason: str) -> str:
    if "CERTIFICATE" in reason.upper():
        return (
            f"{where} has no certificate that this machine trusts: have its authority installed, or name its file in "
            "SSL_CERT_FILE."
        )
    return f"{where} can't be reached: check that it runs, and its address."


def _words(body: bytes) -> str:
    """What a server says of its refusal, shortened, for the end of a sentence."""
    error = _error(body)
    text = error.get("message") if isinstance(error, Mapping) else error
    if not isinstance(text, str) or not text.strip():
        return ""
    line = "".join(char if char.isprintable() else " " for char in text.strip())
    return f" (it says: {line[:LONGEST_WORDS].rstrip('. ')})"


def _error(body: bytes) -> Any:
    """``error`` as OpenAI has it, or ``detail`` as FastAPI does; None of anything else."""
    try:
        parsed = parse_json(body)
    except ValueError:
        return None
    return (parsed.get("error") or parsed.get("detail")) if isinstance(parsed, dict) else None
