"""CUDA graphs: a 4-bit model computes the same with graphs as without, and faster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.devices import ON_GPU, name_of, needs
from fakes.random_nf4 import save_random_nf4
from fakes.tiny_llama import save_llama

from inference.models.catalog import find
from inference.models.cuda_graphs import WORTH_IT, GraphedLlama
from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.loader import load
from inference.models.shape import Shape

SMALL = Shape(vocab=1024, hidden=512, layers=4, heads=8, kv_heads=2, intermediate=1408, head_dim=64, positions=2048)
IDS = [(37 * n + 5) % 1024 for n in range(600)]
TIMED = 64

pytestmark = list(ON_GPU)


def read(model: Llama | GraphedLlama) -> torch.Tensor:
    """Return the logits of all ids after the prompt, read one by one while the buffers grow."""
    session = KVSession(model)
    session.reserve(480)
    model.forward(IDS[:440], session)
    rows = []
    for one in IDS[440:]:
        session.reserve(session.length + 1)
        rows.append(model.forward([one], session))
    return torch.cat(rows)


@pytest.mark.parametrize("form", ["nf4", "bf16"])
def test_graphs_equal_eager_steps(tmp_path: Path, form: str) -> None:
    """Attention reads the whole buffers under a mask, so the last bits may differ."""
    if form == "nf4":
        needs("bitsandbytes")
    model = load(save_random_nf4(tmp_path, SMALL), "nf4", "cuda") if form == "nf4" else _dense(tmp_path)
    eager, graphed = read(model), read(GraphedLlama(model))
    assert float((graphed - eager).abs().max()) <= 0.1 * float(eager.std())
    best, second = eager.topk(2, dim=-1).values.unbind(-1)
    clear = best - second > 0.1 * eager.std()
    assert clear.sum() > len(clear) // 2
    assert torch.equal(graphed.argmax(-1)[clear], eager.argmax(-1)[clear])


def _dense(folder: Path) -> Llama:
    wide = {"vocab_size": 1024, "hidden_size": 256, "intermediate_size": 704, "max_position_embeddings": 1024}
    settings: dict[str, Any] = wide
    return load(save_llama(folder, **settings), "bf16", "cuda")


def test_time_per_token_with_and_without_graphs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A 7B's shape. Times are printed, never asserted; the use of graphs is asserted."""
    needs("bitsandbytes")
    model = load(save_random_nf4(tmp_path, find("codellama-7b").shape), "nf4", "cuda")
    eager, graphed = _milliseconds(model), _milliseconds(GraphedLlama(model))
    print(f"\n{name_of('cuda')}: {eager:.2f} ms a token eagerly, {graphed:.2f} ms with graphs")  # noqa: T201
    assert "without CUDA graphs" not in caplog.text


def _milliseconds(model: Llama | GraphedLlama) -> float:
    session = KVSession(model)
    session.reserve(1024)
    model.forward(IDS[:512], session)
    for one in IDS[: WORTH_IT + 2]:
        model.forward([one], session)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for one in IDS[:TIMED]:
        model.forward([one], session)
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / TIMED * 1000
