"""The attention kernels that prefill uses, and their cost: a chunk after 8K tokens, in the proportions of 34B."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fakes.devices import DEVICES, name_of, needs
from fakes.random_nf4 import save_random_nf4
from torch.nn.attention import SDPBackend, sdpa_kernel

from inference.models.catalog import find
from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.loader import load
from inference.models.shape import CHUNK, Shape
from inference.planning import planner
from inference.system.machine import Device

MIB = 1 << 20
BACKENDS = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH")


@dataclass(frozen=True)
class Case:
    shape: Shape
    context: int
    chunk: int


CASES = {
    "cuda": Case(replace(find("codellama-34b").shape, layers=2), 8192, CHUNK),
    "cpu": Case(Shape(vocab=512, hidden=256, layers=2, heads=8, kv_heads=1, intermediate=704, head_dim=32), 512, 64),
}


@pytest.mark.parametrize("device", DEVICES)
def test_kernels_that_take_a_mask_and_grouped_queries(device: str) -> None:
    """For comparison: on a GPU the forward pass passes a causal bias instead of a mask tensor."""
    case = CASES[device]
    taken = [name for name in BACKENDS if _takes(name, case, device)]
    print(f"\n{name_of(device)}: masked attention with grouped queries is computed by {', '.join(taken)}")  # noqa: T201
    assert "MATH" in taken


def _takes(name: str, case: Case, device: str) -> bool:
    """Return whether one kernel alone computes attention with a mask tensor and fewer key than query heads."""
    shape, dtype = case.shape, torch.bfloat16 if device == "cuda" else torch.float32
    q = torch.zeros(1, shape.heads, case.chunk, shape.head_dim, dtype=dtype, device=device)
    k = torch.zeros(1, shape.kv_heads, case.context, shape.head_dim, dtype=dtype, device=device)
    mask = torch.ones(case.chunk, case.context, dtype=torch.bool, device=device).tril(case.context - case.chunk)
    try:
        with sdpa_kernel(getattr(SDPBackend, name)):
            F.scaled_dot_product_attention(q, k, k, attn_mask=mask, enable_gqa=True)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("device", DEVICES)
def test_chunk_at_the_end_of_a_long_context(tmp_path: Path, device: str) -> None:
    """Memory is compared with the plan. The logits must not depend on how the prompt was split."""
    case = CASES[device]
    needs("bitsandbytes")
    model = load(save_random_nf4(tmp_path, case.shape), "nf4", device)
    ids = [(7919 * n + 11) % case.shape.vocab for n in range(case.context)]
    session = filled(model, ids[: -case.chunk], case.chunk)
    before = _allocated(device)
    logits = model.forward(ids[-case.chunk :], session)
    assert logits.isfinite().all()
    if device == "cuda":
        _report(case, torch.cuda.max_memory_allocated() - before)
    session = filled(model, ids[: -case.chunk // 2], case.chunk)
    again = model.forward(ids[-case.chunk // 2 :], session)
    assert float((again - logits).abs().max()) <= 0.15 * float(logits.std())


def filled(model: Llama, ids: list[int], chunk: int) -> KVSession:
    """Return a session that has read ``ids`` and has room for one more chunk."""
    session = KVSession(model)
    session.reserve(len(ids) + chunk)
    for at in range(0, len(ids), chunk):
        model.forward(ids[at : at + chunk], session)
    return session


def _allocated(device: str) -> int:
    if device == "cpu":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _report(case: Case, taken: int) -> None:
    planned = planner.activation_bytes(case.shape, "nf4", Device("cuda", "", 0, 0), case.chunk, case.context)
    planned += planner.working_copy_bytes(case.shape, "nf4", Device("cuda", "", 0, 0))
    scores = case.shape.heads * case.chunk * case.context * 2
    verdict = "falls back to the kernel that writes out all scores" if taken > scores else "is fused"
    print(  # noqa: T201
        f"\n{name_of('cuda')}: {case.chunk} tokens behind {case.context - case.chunk:,} took {taken // MIB} MiB, "
        f"planned {planned // MIB} MiB; all scores would be {scores // MIB} MiB: attention {verdict}"
    )
