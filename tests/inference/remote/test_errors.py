"""One sentence for each thing that goes wrong, and what kind of trouble it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from inference.api.errors import BadRequest, EngineUnavailable, ModelRefused
from inference.remote.errors import Busy, NotAdmitted, NotUnderstood, refused, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def body(message: str = "def secret(): ...", param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "param": param}}).encode()


@pytest.mark.parametrize(
    ("status", "said", "kind", "sentence"),
    [
        (
            401,
            body(),
            NotAdmitted,
            "there does not accept the token, or wants one: put the one you were given into remote.toml or "
            "CODELLAMA_LS_ENGINE_TOKEN.",
        ),
        (404, body(param="model"), ModelRefused, "there does not have the model that it is asked for."),
        (404, b"<html>", NotUnderstood, "there is no server with OpenAI's API: check the address."),
        (404, b'{"detail": "Not Found"}', NotUnderstood, "there is no server with OpenAI's API: check the address."),
        (429, body(), Busy, "there is busy or not ready yet, and is asked again in 7 s."),
        (503, body(), Busy, "there is busy or not ready yet, and is asked again in 7 s."),
        (400, body(), BadRequest, "there refused a request (HTTP 400)."),
        (500, body(), EngineUnavailable, "there failed (HTTP 500)."),
        (502, b"", EngineUnavailable, "there failed (HTTP 502)."),
        (
            307,
            b"",
            NotUnderstood,
            "there redirects elsewhere, which is not followed: set the address it redirects to.",
        ),
    ],
)
def test_each_refusal_is_one_sentence_and_repeats_nothing(status, said, kind, sentence):
    """What a server says may hold code that it was sent."""
    error = refused("there", status, {"retry-after": "7"}, said)
    assert (type(error), str(error)) == (kind, sentence)


def test_while_nothing_of_a_persons_was_sent_the_servers_words_are_told():
    error = refused("there", 400, {}, body("prompt must be\n a string."), telling=True)
    assert str(error) == "there refused a request (HTTP 400) (it says: prompt must be  a string)."
    longest = refused("there", 400, {}, body("x" * 10_000), telling=True)
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
