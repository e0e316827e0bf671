"""A checkpoint stored in NF4 computes exactly with its 4-bit weights, in this device's type."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import QuantState, dequantize_4bit
from fakes.random_nf4 import config_of, save_random_nf4
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from inference.models.checkpoint import PACKED, inspect
from inference.models.language_model import KVSession
from inference.models.loader import load, resolve_checkpoint
from inference.models.shape import Shape
from inference.text.llama_tokenizer import load_tokenizer

SHAPE = Shape(vocab=320, hidden=128, layers=2, heads=4, kv_heads=2, intermediate=192, head_dim=32, positions=512)
IDS = [3, 141, 59, 26, 5, 35, 89, 79]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "double"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_nf4(tmp_path_factory.mktemp("nf4"), SHAPE, double_quant=request.param, shard_bytes=100_000)


def dense(folder: Path) -> LlamaForCausalLM:
    """Return the same weights in float32, unpacked by bitsandbytes' own reader of its files."""
    stored: dict[str, torch.Tensor] = {}
    for shard in folder.glob("*.safetensors"):
        stored |= load_file(shard)
    weights = {}
    for name in inspect(folder).shapes:
        weights[name] = stored[name].float()
        if f"{name}{PACKED}" in stored:
            parts = {k.removeprefix(f"{name}."): t for k, t in stored.items() if k.startswith(f"{name}.")}
            state = QuantState.from_dict(parts, device=torch.device("cpu"))
            state.dtype = torch.float32
            weights[name] = dequantize_4bit(stored[name], state)
    model = LlamaForCausalLM(LlamaConfig(**config_of(SHAPE))).eval()
    model.load_state_dict(weights)
    return model


def test_logits_equal_those_of_the_unpacked_weights(folder: Path) -> None:
    """A CPU without a 4-bit kernel computes in float32, independent of the checkpoint's type."""
    model = load(folder, "auto", "cpu")
    session = KVSession(model)
    session.reserve(len(IDS))
    ours = model.forward(IDS, session, every_position=True)
    with torch.inference_mode():
        theirs = dense(folder)(torch.tensor([IDS])).logits[0]
    exact = model.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-4 if exact else 0.1, atol=1e-4 if exact else 0.1)


def test_no_tensor_keeps_its_stored_type(folder: Path) -> None:
    """With mixed types every matrix would be converted in every step."""
    model = load(folder, "auto", "cpu")
    block = model._blocks[0]
    gate = block.gate
    assert model._embed.weight.dtype == model._head.weight.dtype == block.attention_norm.dtype == model.dtype
    assert gate.compute_dtype == gate.weight.quant_state.dtype == model.dtype  # pyright: ignore


def test_checkpoint_to_read_is_known_before_loading(folder: Path) -> None:
    """The planner needs it."""
    checkpoint, form = resolve_checkpoint(folder, "auto", "cpu")
    assert (checkpoint.folder, form, checkpoint.quantised) == (folder, "nf4", True)


def test_vocabulary_has_a_token_for_every_row(folder: Path) -> None:
    """Otherwise a random model could generate ids without text."""
    tokenizer = load_tokenizer(folder)
    assert tokenizer.vocab_size == SHAPE.vocab
    assert tokenizer.piece_bytes(tokenizer.encode("é")[-1]) == "é".encode()[-1:]
