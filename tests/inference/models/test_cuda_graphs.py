"""Decoding with captured steps; the step function replaces a CUDA graph.

``tests/gpu`` compares real graphs.
"""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from fakes.byte_llama import tiny_reference

from inference.models.cuda_graphs import WORTH_IT, GraphedLlama, Replay
from inference.models.language_model import KVSession
from inference.models.llama import Llama

IDS = [(37 * n + 5) % 256 for n in range(40)]


class Captured:
    """Counts captures. Each is the step over the buffers that the session had at that time."""

    def __init__(self, fails: bool = False) -> None:
        self.count, self.fails = 0, fails

    def __call__(self, llama: Llama, kv: KVSession, token: int) -> Replay:
        self.count += 1
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        keys, values = ([weakref.ref(one) for one in buffers] for buffers in (kv.keys, kv.values))

        def replay(token: int, position: int) -> torch.Tensor:
            held = [[one() for one in refs] for refs in (keys, values)]
            assert all(tensor is not None for tensors in held for tensor in tensors), "a graph outlived its buffers"
            return llama.step(torch.tensor([token]), torch.tensor([position]), *held)  # type: ignore[arg-type]

        return replay


@pytest.fixture(scope="module", params=[4, 2], ids=["all heads", "grouped heads"])
def llama(request: pytest.FixtureRequest) -> Llama:
    return Llama(tiny_reference(num_attention_heads=4, num_key_value_heads=request.param))


def read(model: Llama | GraphedLlama, ids: list[int], session: KVSession | None = None) -> torch.Tensor:
    """Return the logits of every id, read one by one."""
    session = session or KVSession(model)
    session.reserve(session.length + len(ids))
    return torch.cat([model.forward([one], session) for one in ids])


def test_captured_steps_equal_the_forward_pass(llama: Llama) -> None:
    captured = Captured()
    torch.testing.assert_close(read(GraphedLlama(llama, captured), IDS), read(llama, IDS), rtol=0, atol=1e-4)
    assert captured.count == 1


def test_prompts_and_drafts_use_the_forward_pass(llama: Llama) -> None:
    """They may come between captured steps: both write to the same buffers."""
    model = GraphedLlama(llama, Captured())
    session = KVSession(model)
    session.reserve(3 * len(IDS))
    read(model, IDS, session)
    middle = model.forward(IDS, session, every_position=True)
    last = read(model, IDS, session)
    plain = read(llama, IDS * 3)
    torch.testing.assert_close(torch.cat([middle, last]), plain[len(IDS) :], rtol=0, atol=1e-4)


def test_short_completions_are_not_captured(llama: Llama) -> None:
    captured = Captured()
    read(GraphedLlama(llama, captured), IDS[:WORTH_IT])
    assert captured.count == 0


def test_grown_buffers_are_captured_again(llama: Llama) -> None:
    """A graph of the old buffers would write to freed memory."""
    captured = Captured()
    model = GraphedLlama(llama, captured)
    session = KVSession(model)
    read(model, IDS, session)
    session.reserve(session.capacity + 1)
    torch.testing.assert_close(read(model, IDS, session), read(llama, IDS * 2)[len(IDS) :], rtol=0, atol=1e-4)
    assert captured.count == 2


def test_rewound_tokens_are_overwritten(llama: Llama) -> None:
    model = GraphedLlama(llama, Captured())
    session = KVSession(model)
    read(model, IDS, session)
    session.ids = IDS
    assert session.rewind([*IDS[:20], 1, 2]) == 20
    torch.testing.assert_close(read(model, [1, 2], session), read(llama, [*IDS[:20], 1, 2])[20:], rtol=0, atol=1e-4)


def test_uninitialised_memory_does_not_change_the_logits(llama: Llama) -> None:
    """A captured step reads the whole buffers, and zero times NaN is NaN."""
    model = GraphedLlama(llama, Captured())
    session = KVSession(model)
    session.reserve(len(IDS))
    for buffer in (*session.keys, *session.values):
        buffer.fill_(torch.nan)
    torch.testing.assert_close(read(model, IDS, session), read(llama, IDS), rtol=0, atol=1e-4)


def test_evicted_buffers_are_not_kept_in_memory(llama: Llama) -> None:
    model = GraphedLlama(llama, Captured())
    session = KVSession(model)
    read(model, IDS, session)
    buffer = weakref.ref(session.keys[0])
    session.clear()
    gc.collect()
    assert buffer() is None


def test_failed_capture_falls_back_to_eager_for_good(llama: Llama, caplog: pytest.LogCaptureFixture) -> None:
    captured = Captured(fails=True)
    model = GraphedLlama(llama, captured)
    torch.testing.assert_close(read(model, IDS), read(llama, IDS), rtol=0, atol=0)
    assert captured.count == 1
    assert "decoding without CUDA graphs" in caplog.text


def test_failed_capture_is_not_retried_under_an_adapter(llama: Llama, caplog: pytest.LogCaptureFixture) -> None:
    model = GraphedLlama(llama, Captured(fails=True))
    read(model, IDS)
    read(model.with_low_rank({}), IDS)
    assert caplog.text.count("decoding without CUDA graphs") == 1


def test_adapted_model_is_captured_separately(llama: Llama) -> None:
    pairs = {"model.layers.0.mlp.up_proj": (torch.full((2, 32), 0.1), torch.full((64, 2), 0.1))}
    captured = Captured()
    adapted = GraphedLlama(llama, captured).with_low_rank(_fitting(llama, pairs))
    plain = llama.with_low_rank(_fitting(llama, pairs))
    torch.testing.assert_close(read(adapted, IDS), read(plain, IDS), rtol=0, atol=1e-4)
    assert captured.count == 1


def _fitting(llama: Llama, pairs: dict) -> dict:
    """Expand the pairs to the sizes of this model."""
    hidden, inner = llama.config.hidden_size, llama.config.intermediate_size
    return {name: (a[:, :1].expand(-1, hidden), b[:1].expand(inner, -1)) for name, (a, b) in pairs.items()}
