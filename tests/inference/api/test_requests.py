"""Bodies of requests: round trips, defaults, and the messages for invalid fields."""

from __future__ import annotations

import pytest

from inference.api.events import Sampling
from inference.api.requests import CompletionRequest, WireError, parse_chat, parse_completion
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule


def test_completion_survives_a_round_trip():
    request = CompletionRequest(
        prompt="a",
        suffix="b",
        model="m",
        sampling=Sampling(max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("x",), min_tokens=5, prediction="ab"),
        stop_rule=StopRule("block", 4, "}"),
        context=(Snippet("a/b.py", "x = 1\n"), Snippet("c.py", "")),
        priority="prefetch",
        deadline_ms=50,
        session="file:///a.py",
    )
    assert parse_completion(request.to_json()) == request


def test_benchmark_fields_survive_a_round_trip():
    request = CompletionRequest(prompt=[1], sampling=Sampling(drafts=False, forced=(3, 4)))
    assert parse_completion(request.to_json()) == request


@pytest.mark.parametrize("content", ["x = 1", [{"type": "text", "text": "x ="}, {"type": "text", "text": " 1"}]])
def test_prediction_has_openais_shape(content):
    body = {"messages": [{"role": "user", "content": "Hi"}], "prediction": {"type": "content", "content": content}}
    request = parse_chat(body)
    assert request.sampling.prediction == "x = 1"
    assert request.to_json()["prediction"] == {"type": "content", "content": "x = 1"}
    assert "prediction" not in CompletionRequest(prompt="a").to_json()


@pytest.mark.parametrize("suffix", [None, ""])
def test_empty_suffix_differs_from_no_suffix(suffix):
    """Infill with nothing after the cursor, or continue without infilling."""
    request = CompletionRequest(prompt="a", suffix=suffix)
    assert parse_completion(request.to_json()) == request


def test_defaults_are_openais():
    request = parse_completion({"prompt": [1, 2]})
    assert request == CompletionRequest(prompt=[1, 2])
    assert request.stop_rule == StopRule("none")


def test_chat_accepts_content_in_parts():
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}
    assert parse_chat(body).messages == (Message("user", "ab"),)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "The request's body must be a JSON object."),
        ({}, "'prompt' must be a string or a list of token ids."),
        ({"prompt": [1, "2"]}, "'prompt' must be a string or a list of token ids."),
        ({"prompt": [True]}, "'prompt' must be a string or a list of token ids."),
        ({"prompt": "a", "suffix": 1}, "'suffix' must be a string, not a number."),
        ({"prompt": "a", "stream": "yes"}, "'stream' must be true or false, not a string."),
        ({"prompt": "a", "max_tokens": 0}, "'max_tokens' must be a whole number from 1 to 8192."),
        ({"prompt": "a", "max_tokens": True}, "'max_tokens' must be a whole number from 1 to 8192."),
        ({"prompt": "a", "min_tokens": -1}, "'min_tokens' must be a whole number from 0 to 8192."),
        ({"prompt": "a", "temperature": 3}, "'temperature' must be a number from 0 to 2."),
        ({"prompt": "a", "top_p": float("nan")}, "'top_p' must be a number from 0 to 1."),
        ({"prompt": "a", "stop": [1]}, "'stop' must be a string or a list of at most 16 strings."),
        ({"prompt": "a", "prediction": "x"}, "'prediction' must be an object, not a string."),
        ({"prompt": "a", "drafts": 0}, "'drafts' must be true or false, not a number."),
        ({"prompt": [1], "forced": [1, "a"]}, "'forced' must be a list of token ids."),
        ({"prompt": "a", "forced": [1]}, "'forced' needs a 'prompt' of token ids."),
        ({"prompt": "a", "prediction": {"type": "content"}}, "'prediction.content' must be a string."),
        ({"prompt": "a", "stop_rule": {"kind": "page"}}, "'stop_rule.kind' must be none, line or block."),
        ({"prompt": "a", "context": "b"}, "'context' must be a list of at most 64 objects."),
        ({"prompt": "a", "context": [{}] * 65}, "'context' must be a list of at most 64 objects."),
        (
            {"prompt": "a", "context": [{"path": "b"}]},
            "Each item of 'context' must be an object with 'path' and 'text'.",
        ),
        ({"prompt": "a", "temperature": 1.5, "suffix": 0.5}, "'suffix' must be a string, not a number."),
        ({"prompt": "a", "model": "m" * 257}, "'model' must have at most 256 characters."),
        ({"prompt": "a", "user": "u" * 20_000}, "'user' must have at most 256 characters."),
        ({"prompt": "a", "session": "s" * 20_000}, "'session' must have at most 16,384 characters."),
        (
            {"prompt": "a", "prediction": {"content": [{"text": 5}]}},
            "'prediction.content[0]' must be an object whose 'text' is a string.",
        ),
        ({"prompt": "a", "priority": "now"}, "'priority' must be one of completion, chat, prefetch."),
    ],
)
def test_invalid_completion_is_refused_with_a_message(body, message):
    with pytest.raises(WireError) as refused:
        parse_completion(body)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "'messages' must be a list with at least one message."),
        (["Hi"], "'messages[0]' must be an object with 'role' and 'content'."),
        ([{"role": "tool", "content": ""}], "'messages[0].role' must be system, user or assistant."),
        ([{"role": "user"}], "'messages[0].content' must be a string."),
        ([{"role": ["user"], "content": ""}], "'messages[0].role' must be system, user or assistant."),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]}],
            "'messages[0].content[1]' must be an object whose 'text' is a string.",
        ),
        (
            [{"role": "user", "content": ["a"]}],
            "'messages[0].content[0]' must be an object whose 'text' is a string.",
        ),
    ],
)
def test_invalid_chat_is_refused_with_a_message(messages, message):
    with pytest.raises(WireError) as refused:
        parse_chat({"messages": messages})
    assert str(refused.value) == message
