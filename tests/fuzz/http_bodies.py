"""Generate JSON bodies for every route: valid ones, and valid ones with changed values."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

Json = Any

VALID: dict[str, list[Json]] = {
    "/v1/completions": [
        {"prompt": "def add(a, b):\n    return ", "max_tokens": 4},
        {"prompt": ["x = "], "suffix": "\nprint(x)\n", "max_tokens": 4, "stream": True, "model": "tiny"},
        {"prompt": [1, 70, 71], "forced": [72], "max_tokens": 3, "logprobs": 2, "n": 2, "seed": 3, "temperature": 0.5},
        {
            "prompt": "if a:\n    ",
            "suffix": "",
            "max_tokens": 4,
            "min_tokens": 1,
            "top_p": 0.9,
            "stop": ["\n\n", "#"],
            "stop_rule": {"kind": "block", "indent": 4, "closer": "}"},
            "context": [{"path": "a.py", "text": "a = 1\n"}, {"path": "b.py", "text": ""}],
            "prediction": {"type": "content", "content": "abc"},
            "priority": "prefetch",
            "deadline_ms": 20_000,
            "session": "s",
            "user": "u",
            "drafts": False,
            "stream_options": {"include_usage": True},
            "stream": True,
        },
    ],
    "/v1/chat/completions": [
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": "c"},
                {"role": "user", "content": "d"},
            ],
            "max_completion_tokens": 4,
            "logprobs": True,
            "top_logprobs": 2,
            "stream": True,
            "n": 2,
            "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]},
        },
    ],
    "/score": [
        {
            "input_data": {
                "input_string": ["def fibonacci("],
                "parameters": {"top_p": 0.9, "temperature": 0.2, "do_sample": True, "max_new_tokens": 4, "seed": 1},
            },
            "model": "tiny",
        }
    ],
    "/retire": [{"stop": 5, "fuzz": 1}, {"now": "yes", "fuzz": []}],  # never valid: it would end the engine
}

ODD: list[Json] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**64), 10**40, 0.5, -0.0, 1e-300, 5e-324, 1e308, float("nan"),
    float("inf"), "", "x", "\x00", "\ud800", "a\udfffb", "\ufeff", "\u2028", "é€😀" * 3, "../../etc/passwd", "%00",
    "a" * 300, "m" * 20_000, "\n" * 5_000, " " * 5_000, "<PRE>", "</s>", "▁<MID>", "tiny", "starter", "line", "user",
    [], [[]], [None], [1, 2], [-1], [2**70], ["a"] * 20, [[1]], {}, {"text": 5}, {"": None}, {"content": None},
    [{"type": "text", "text": 5}], [{"type": "image_url"}], {"kind": [], "indent": "4"},
]  # fmt: skip
"""Values that are invalid, extreme or unusual in some field."""

UNSERVED = ["echo", "best_of", "logit_bias", "tools", "functions", "response_format", "frequency_penalty", "unknown"]


def body(random: Random, path: str) -> bytes:
    """Return a JSON body for ``path`` with up to three changes, as bytes."""
    value = copy.deepcopy(random.choice(VALID[path]))
    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
        value = changed(random, value)
    if path == "/retire" and isinstance(value, dict):
        value["fuzz"] = 1
    return serialized(random, value)


def changed(random: Random, value: Json) -> Json:
    """Return ``value`` with one member replaced, removed, added, repeated or wrapped."""
    found: list[tuple[Any, Any]] = list(members(value))
    odd = copy.deepcopy(random.choice(ODD))
    if not found or random.random() < 0.05:
        return odd
    holder, key = random.choice(found)
    kind = random.choice(["replace", "replace", "replace", "replace", "remove", "add", "repeat", "wrap", "deepen"])
    if kind == "remove":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[random.choice(UNSERVED)] = odd
    elif kind == "repeat" and isinstance(holder, list):
        holder.extend([holder[key]] * random.choice([1, 20, 70]))
    elif kind == "wrap":
        holder[key] = random.choice([[holder[key]], {"text": holder[key]}])
    elif kind == "deepen":
        holder[key] = nested(random.choice([10, 200]))
    else:
        holder[key] = odd
    return value


def members(value: Json) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key or index) in ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from members(inner)


def nested(depth: int) -> Json:
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


def serialized(random: Random, value: Json) -> bytes:
    """Serialize ``value``, sometimes in an unusual encoding or as invalid JSON."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.7)
    raw = text.encode("utf-8", "surrogatepass")
    kind = random.random()
    if kind < 0.80:
        return raw
    if kind < 0.83 and isinstance(value, dict) and value:
        return b'{"prompt": 1, "model": [], ' + raw[1:]  # duplicate keys
    if kind < 0.86:
        return text.encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"]), "surrogatepass")
    if kind < 0.89:
        return raw[: random.randrange(len(raw) + 1)]
    if kind < 0.92:
        return b"[" * random.choice([500, 2_000, 200_000])
    if kind < 0.95:
        at = random.randrange(len(raw) + 1)
        return raw[:at] + random.randbytes(random.choice([1, 3])) + raw[at:]
    return raw.replace(b"4", b"9" * random.choice([5, 30, 5_000]))
