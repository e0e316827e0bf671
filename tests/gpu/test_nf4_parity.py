"""NF4 on this device: our forward pass equals transformers' over the same 4-bit weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes.devices import DEVICES, name_of, needs
from fakes.tiny_llama import save_llama
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.loader import load

SHAPE = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.05,
}
IDS = [(37 * n + 5) % 1024 for n in range(160)]

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}
"""Largest difference of a logit, in standard deviations of all logits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"), **SHAPE)


def reference(folder: Path, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Return the logits of every position from a separate model: bitsandbytes rewrites weights in place."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=False
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=settings, dtype=dtype, device_map={"": device}, attn_implementation="eager"
    )
    with torch.inference_mode():
        return model.eval()(torch.tensor([IDS], device=device)).logits[0].float().cpu()


def ours(model: Llama, pieces: list[int]) -> torch.Tensor:
    """Return the same logits, with the ids split into parts of these lengths."""
    session = KVSession(model)
    session.reserve(len(IDS))
    rows, at = [], 0
    for length in pieces:
        rows.append(model.forward(IDS[at : at + length], session, every_position=True).cpu())
        at += length
    return torch.cat(rows)


@pytest.mark.parametrize("device", DEVICES)
def test_every_split_of_a_prompt_equals_transformers(folder: Path, device: str) -> None:
    """Whole, in chunks, and token by token: on a GPU these use different 4-bit kernels. Teacher-forced."""
    needs("bitsandbytes")
    model = load(folder, "nf4", device)
    wanted = reference(folder, device, model.dtype)
    allowed = TOLERANCE[model.dtype] * float(wanted.std())
    best, second = wanted.topk(2, dim=-1).values.unbind(-1)
    clear = best - second > allowed
    print(f"\n{name_of(device)}, {model.dtype}: {int(clear.sum())} of {len(IDS)} positions are clear")  # noqa: T201
    assert clear.sum() > len(IDS) // 2
    for pieces in ([160], [64, 64, 32], [148, *[1] * 12]):
        logits = ours(model, pieces)
        difference = float((logits - wanted).abs().max())
        print(f"  in {len(pieces)} pieces: largest difference {difference / float(wanted.std()):.2g} sigma")  # noqa: T201
        assert difference <= allowed
        assert torch.equal(logits.argmax(-1)[clear], wanted.argmax(-1)[clear])
