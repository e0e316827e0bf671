"""Prompts of 20,000 tokens, and prompts one token too long: bounded memory, cut at the far ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes.byte_llama import ByteTokenizer, tiny_config, tiny_reference
from torch.profiler import ProfilerActivity, profile

from inference.api.events import Finished, Sampling, Steps
from inference.engine.engine import Engine
from inference.models.catalog import CATALOG, Role
from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.shape import CHUNK, Shape
from inference.planning.planner import Choice, plan
from inference.system.machine import Device
from inference.text.prompts import Message

LONG: dict[str, Any] = {"vocab_size": 320, "max_position_embeddings": 100_000, "rope_theta": 1e6}
SENTINELS = {"▁<PRE>": 300, "▁<MID>": 301, "▁<SUF>": 302, "▁<EOT>": 303}


class InfillTokenizer(ByteTokenizer):
    """Byte tokens and Code Llama's sentinels."""

    vocab_size = LONG["vocab_size"]

    def control_id(self, piece: str) -> int | None:
        return SENTINELS.get(piece) or super().control_id(piece)


@pytest.fixture(scope="module")
def model() -> Llama:
    return Llama(tiny_reference(**LONG))


def engine(model: Llama, context: int) -> Engine:
    contexts: dict[Role, int] = {"completion": context}
    return Engine(model, InfillTokenizer(), CATALOG["codellama-7b"], contexts)


def prompt_tokens(steps: Steps) -> int:
    """Return the prompt tokens of a completion that must succeed."""
    *_, last = steps
    assert isinstance(last, Finished)
    return last.outcome.prompt_tokens


class Seen:
    """Records the chunks that a model reads, and the numbers of rows of its logits."""

    def __init__(self, model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chunks: list[list[int]] = []
        self.rows: set[int] = set()
        forward = model.forward

        def watched(ids: list[int], kv, **options):
            logits = forward(ids, kv, **options)
            self.chunks.append(ids)
            self.rows.add(len(logits))
            return logits

        monkeypatch.setattr(model, "forward", watched)

    @property
    def prompt(self) -> list[int]:
        return [i for chunk in self.chunks for i in chunk]


def test_twenty_thousand_tokens_in_planned_memory(model, monkeypatch):
    """Chunked, with logits of the last position only; the cache holds prompt and completion."""
    seen = Seen(model, monkeypatch)
    running = engine(model, 24_000)
    code = "".join(f"value_{n} = {n} * factor\n" for n in range(2000))[:20_000]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        tokens = prompt_tokens(running.complete(code, sampling=Sampling(max_tokens=4)))
    assert tokens == 20_000 - 1  # the last one is healed
    assert max(map(len, seen.chunks)) <= CHUNK
    assert seen.rows == {1}
    shape = Shape.from_config(tiny_config(**LONG).to_dict())
    choice = Choice("miniature", shape, ("completion",), "fp32", 24_000)
    planned = plan([choice], Device("cpu", "CPU memory", 8 << 30, 8 << 30), wanted={"completion": 24_000})
    expected = sum(i.bytes for i in planned.items if i.name.split()[0] in ("KV", "activations", "logits"))
    assert peak_bytes(recorded) <= expected


def peak_bytes(recorded: profile) -> int:
    """Return the maximum of bytes alive at once, of those allocated while recording."""
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, alive)
    return peak


@pytest.mark.parametrize("more", [0, 1])
def test_prefix_one_token_too_long_loses_its_start(model, monkeypatch, more):
    """A prefix that fits is read whole. One more token drops a block at the far end."""
    seen = Seen(model, monkeypatch)
    room = 2000 - 8
    prefix = "".join(chr(97 + n % 26) for n in range(room + more + 1))
    tokens = prompt_tokens(engine(model, 2000).complete(prefix, sampling=Sampling(max_tokens=8)))
    assert tokens == (room if more == 0 else room + 1 - 256)
    assert seen.prompt[:tokens] == list(prefix.encode())[-tokens - 1 : -1]  # the last token is healed


@pytest.mark.parametrize("more", [0, 1])
def test_infilling_one_token_too_long_loses_the_far_ends(model, monkeypatch, more):
    """The text next to the cursor stays on both sides."""
    seen = Seen(model, monkeypatch)
    room = 2000 - 8 - 3  # the answer's, and the three sentinels of the prompt
    prefix, suffix = "p" * (room - 700) + "(", ")" + "s" * (698 + more)
    tokens = prompt_tokens(engine(model, 2000).complete(prefix, suffix, Sampling(max_tokens=8)))
    prompt = seen.prompt[:tokens]
    begin, after, middle = (prompt.index(SENTINELS[name]) for name in ("▁<PRE>", "▁<SUF>", "▁<MID>"))
    read_prefix, read_suffix = bytes(prompt[begin + 1 : after]).decode(), bytes(prompt[after + 1 : middle]).decode()
    assert prefix.endswith(read_prefix) and suffix.startswith(read_suffix)
    assert (read_prefix == prefix and read_suffix == suffix) == (more == 0)
    assert read_prefix.endswith("(") and read_suffix.startswith(")")
    assert len(prompt) <= 2000 - 8


def test_chat_one_token_too_long_loses_its_oldest_turns(model):
    chatting = Engine(model, InfillTokenizer(), replace(CATALOG["codellama-7b"], chat="chatml"), {"chat": 1000})
    turns = [Message("user" if n % 2 == 0 else "assistant", "x" * 200) for n in range(9)]
    assert prompt_tokens(chatting.chat(turns, Sampling(max_tokens=8))) <= 1000 - 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_chunked_prefill_equals_one_pass_on_a_gpu(kv_heads):
    """On a GPU the causal mask is the kernel's own."""
    loaded: Any = tiny_reference(num_key_value_heads=kv_heads, hidden_size=256)
    ours, ids = Llama(loaded.to("cuda", torch.bfloat16)), [(7 * i * i + i) % 256 for i in range(300)]
    whole, parts = KVSession(ours), KVSession(ours)
    for session in (whole, parts):
        session.reserve(len(ids))
    expected = ours.forward(ids, whole, every_position=True)
    found = torch.cat([ours.forward(ids[n : n + 100], parts, every_position=True) for n in (0, 100, 200)])
    assert (found - expected).norm() <= 0.03 * expected.norm()
