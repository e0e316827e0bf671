"""Each of the twelve Code Llamas in miniature, from a folder to a completion."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.miniature import TWELVE, miniature_shape, save_miniature
from support.fixtures_vocabulary import folder_or_skip
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from inference.api.events import Finished, Outcome, Sampling, TextChunk
from inference.commands import pull_command
from inference.engine.engine import Engine
from inference.models import store
from inference.models.catalog import Model
from inference.models.identify import row_of
from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.loader import load
from inference.models.shape import Shape
from inference.text.chat_prompts import CHAT_PROMPTS
from inference.text.infill import infill_prompt
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.prompts import Message, PromptError, completion_prompt
from inference.text.tokenizer import decode

pytestmark = pytest.mark.slow

CODE = '''class Stack:
    """Last in, first out."""

    def __init__(self, items=()):
        self._items = list(items)

    def push(self, item):
        self._items.append(item)

    def pop(self):
        if not self._items:
            raise IndexError("pop from empty stack")
        return self._items.pop()
'''

PREFIX, SUFFIX = "def area(radius):\n    pi = 3.14159\n    return ", "\n\nprint(area(2))\n"

CONTEXT = 512

BF16 = 0.03
"""Tolerance of bfloat16, whose every rounding is off by up to 0.4 %, after two layers of a dozen roundings each."""


@dataclass(frozen=True)
class Miniature:
    """A pulled miniature.

    Attributes:
        row: its catalogue row.
        folder: its installed folder.
        ids: about 64 tokens of code.
    """

    row: Model
    folder: Path
    ids: list[int]

    def reference(self, **options: Any) -> torch.Tensor:
        """Return the logits of transformers' own forward pass in a separate model."""
        model = LlamaForCausalLM.from_pretrained(self.folder, **options).eval()
        with torch.inference_mode():
            return model(torch.tensor([self.ids])).logits[0].float()

    def engine(self, weight_format: Any) -> Engine:
        return Engine(
            load(self.folder, weight_format, "cpu"),
            load_tokenizer(self.folder),
            row_of(self.row.id),
            {"completion": CONTEXT, "chat": CONTEXT},
        )


@pytest.fixture(scope="module", params=TWELVE, ids=lambda row: row.id)
def miniature(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Miniature]:
    """Pull a miniature from a folder with the real command, under the row's id."""
    row: Model = request.param
    vocabulary = folder_or_skip("codellama" if row.shape.vocab == 32_016 else "llama2")
    root = tmp_path_factory.mktemp(row.id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(root / "models"))
        source = save_miniature(row, vocabulary, root / "downloaded")
        assert pull_command.main([str(source), "--as", row.id, "--accept-licence"]) == pull_command.OK
        shutil.rmtree(source)
        folder = store.installed(row.id)
        yield Miniature(row, folder, [1, *load_tokenizer(folder).encode(CODE)][:64])
    shutil.rmtree(root)


def logits(model: Llama, ids: list[int]) -> torch.Tensor:
    """Return teacher-forced logits ``[len(ids), vocab]`` in two chunks; the second reads the cache."""
    kv = KVSession(model)
    kv.reserve(len(ids))
    return torch.cat([model.forward(part, kv, every_position=True) for part in (ids[:40], ids[40:])])


def check_close(found: torch.Tensor, expected: torch.Tensor, relative: float) -> None:
    """Check closeness as a fraction of the largest logit, and equal tokens unless the reference is nearly tied."""
    tolerance = relative * float(expected.abs().max())
    assert float((found - expected).abs().max()) <= tolerance
    best = expected.topk(2).values
    sure = best[:, 0] - best[:, 1] > tolerance
    assert sure.sum() >= 32
    assert torch.equal(found.argmax(-1)[sure], expected.argmax(-1)[sure])


def run(steps: Any) -> tuple[str, Outcome]:
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, TextChunk)), events[-1].outcome


def test_installed_miniature_has_the_traits_of_its_model(miniature: Miniature) -> None:
    """The true vocabulary, RoPE, positions and heads."""
    assert Shape.from_folder(miniature.folder) == miniature_shape(miniature.row.shape)
    assert sorted(path.name for path in miniature.folder.glob("*.safetensors")) == [
        f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]
    assert not (miniature.folder / "README.md").exists()


def test_float32_tokens_equal_transformers(miniature: Miniature) -> None:
    expected = miniature.reference(dtype=torch.float32)
    found = logits(load(miniature.folder, "fp32", "cpu"), miniature.ids)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_bfloat16_is_within_tolerance(miniature: Miniature) -> None:
    found = logits(load(miniature.folder, "bf16", "cpu"), miniature.ids)
    check_close(found, miniature.reference(dtype=torch.bfloat16), BF16)


def test_nf4_is_quantised_once_and_reloads_bit_exact(miniature: Miniature, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight and scale; then the same logits as transformers' own NF4 model."""
    first = load(miniature.folder, "nf4", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("bitsandbytes.functional.quantize_4bit", lambda *_, **__: pytest.fail("quantised again"))
        again = load(miniature.folder, "nf4", "cpu")
    before, after = tensors(first), tensors(again)
    assert before.keys() == after.keys() and len(before) == 63
    assert all(torch.equal(before[name], after[name]) for name in before)
    found = logits(again, miniature.ids)
    assert torch.equal(found, logits(first, miniature.ids))
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=again.dtype,
        bnb_4bit_use_double_quant=False,
    )
    expected = miniature.reference(dtype=again.dtype, quantization_config=settings, device_map="cpu")
    check_close(found, expected, 1e-5 if again.dtype == torch.float32 else BF16)


def tensors(model: Llama) -> dict[str, torch.Tensor]:
    """Return all tensors of a loaded model, 4-bit weights with their scales, before any forward pass."""
    found = {"embed": model._embed.weight, "norm": model._norm, "head": model._head.weight}
    for n, block in enumerate(model._blocks):
        found |= {f"{n}.attention_norm": block.attention_norm, f"{n}.mlp_norm": block.mlp_norm}
        for name in ("query", "key", "value", "output", "gate", "up", "down"):
            weight: Any = getattr(block, name).weight
            found[f"{n}.{name}"] = weight.data.clone()
            found |= {
                f"{n}.{name}.{key}": part.clone() for key, part in weight.quant_state.as_dict(packed=True).items()
            }
            found[f"{n}.{name}.absmax"] = weight.quant_state.absmax.clone()
    return found


def test_miniature_completes(miniature: Miniature) -> None:
    """In float32, so exactly transformers' text."""
    reference: Any = LlamaForCausalLM.from_pretrained(miniature.folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        answer = reference.generate(torch.tensor([miniature.ids]), max_new_tokens=8, do_sample=False)[0, 64:].tolist()
    engine = miniature.engine("fp32")
    text, outcome = run(engine.complete(miniature.ids, sampling=Sampling(max_tokens=8)))
    assert text == decode(engine.tokenizer, answer)
    assert outcome.completion_tokens == 8


def test_miniature_infills_or_completes_from_the_prefix(miniature: Miniature) -> None:
    """Its training decides, not its vocabulary: 70B Python has the sentinels."""
    engine = miniature.engine("nf4")
    room = CONTEXT - 8
    if miniature.row.infill:
        built = infill_prompt(engine.tokenizer, PREFIX, SUFFIX, room)
        assert {32_007, 32_008, 32_009} < set(built.ids)
    else:
        built = completion_prompt(engine.tokenizer, PREFIX, room)
        assert not {32_007, 32_008, 32_009} & set(built.ids)
    _, outcome = run(engine.complete(PREFIX, SUFFIX, Sampling(max_tokens=8)))
    assert outcome.prompt_tokens == len(built.ids)
    assert outcome.completion_tokens >= 1


def test_miniature_chats_or_refuses(miniature: Miniature) -> None:
    engine, messages = miniature.engine("nf4"), [Message("user", "Reverse a list.")]
    if miniature.row.chat is None:
        with pytest.raises(
            PromptError, match=f"{miniature.row.id} was not trained to chat\\. Choose codellama-[0-9]+b-instruct"
        ):
            engine.chat(messages)
        return
    built = CHAT_PROMPTS[miniature.row.chat](engine.tokenizer, messages, 256)
    _, outcome = run(engine.chat(messages, Sampling(max_tokens=8)))
    assert outcome.prompt_tokens == len(built.ids)
    assert outcome.completion_tokens >= 1
