"""Errors of a remote server: class and message for each HTTP status."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from inference.api.engine_errors import BadRequest, EngineUnavailable, ModelRefused
from inference.remote.server_errors import ServerBusy, UnusableServer, refusal, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def body(message: str = "def secret(): ...", param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "param": param}}).encode()


@pytest.mark.parametrize(
    ("status", "content", "kind", "message"),
    [
        (
            401,
            body(),
            UnusableServer,
            "server rejected the token, or requires one. Put the token you were given into remote.toml or "
            "CODELLAMA_LS_ENGINE_TOKEN.",
        ),
        (404, body(param="model"), ModelRefused, "server does not have the requested model."),
        (404, b"<html>", UnusableServer, "server does not offer OpenAI's API. Check the address."),
        (404, b'{"detail": "Not Found"}', UnusableServer, "server does not offer OpenAI's API. Check the address."),
        (429, body(), ServerBusy, "server is busy or not ready yet; retrying in 7 s."),
        (503, body(), ServerBusy, "server is busy or not ready yet; retrying in 7 s."),
        (400, body(), BadRequest, "server refused a request (HTTP 400)."),
        (500, body(), EngineUnavailable, "server failed (HTTP 500)."),
        (502, b"", EngineUnavailable, "server failed (HTTP 502)."),
        (
            307,
            b"",
            UnusableServer,
            "server redirects to another address. Set the address that it redirects to.",
        ),
    ],
)
def test_refusal_never_quotes_the_server(status, content, kind, message):
    """A server's own words may contain code that it was sent."""
    error = refusal("server", status, {"retry-after": "7"}, content)
    assert (type(error), str(error)) == (kind, message)


def test_probe_quotes_the_server_in_a_short_message():
    error = refusal("server", 400, {}, body("prompt must be\n a string."), quote=True)
    assert str(error) == "server refused a request (HTTP 400) (it says: prompt must be  a string)."
    longest = refusal("server", 400, {}, body("x" * 10_000), quote=True)
    assert len(str(longest)) < 300


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("999999", 600.0),
        ("soon", 2.0),
        ("", 2.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after(header, NOW) == seconds
