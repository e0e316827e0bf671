"""The forward pass under an adapter equals peft's, for every format of the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.byte_llama import tiny_reference
from fakes.lora import save_lora
from fakes.tiny_llama import save_llama
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from inference.models.adapter_store import AdapterError
from inference.models.language_model import KVSession, LanguageModel
from inference.models.llama import Llama
from inference.models.lora import with_adapter

IDS = [5, 80, 3, 111, 42, 7, 7, 99, 1, 20]


def lean(model: LanguageModel, ids: list[int] = IDS, first: int = 6) -> torch.Tensor:
    """Return the logits of every position; the first ones in one step, the rest one by one, as in decoding."""
    kv = KVSession(model)
    kv.reserve(len(ids))
    parts = [model.forward(ids[:first], kv, every_position=True)]
    parts += [model.forward([one], kv, every_position=True) for one in ids[first:]]
    return torch.cat(parts)


def reference(model, ids: list[int] = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"target_modules": ["q_proj", "v_proj"]},
        {"r": 9, "lora_alpha": 5, "use_rslora": True},
        {"layers_to_transform": [1], "bias": "none", "lora_dropout": 0.5},
    ],
)
def test_float32_logits_equal_peft(tmp_path, config):
    folder = save_lora(tmp_path, tiny_reference(), **config)
    theirs = reference(PeftModel.from_pretrained(tiny_reference(), str(folder)))
    ours = lean(with_adapter(Llama(tiny_reference()), folder))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    assert (theirs - reference(tiny_reference())).abs().max() > 0.1, "the adapter has an effect"


@pytest.mark.parametrize("double", [False, True])
def test_nf4_logits_equal_peft(tmp_path, double):
    """QLoRA: a 4-bit base plus an adapter that is not quantised."""
    checkpoint = save_llama(tmp_path / "base")
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        bnb_4bit_use_double_quant=double,
    )

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, quantization_config=quantised, device_map={"": "cpu"}
        )

    base = load()
    unquantised: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    folder = save_lora(tmp_path / "adapter", unquantised)
    plain = lean(Llama(base))
    ours = lean(with_adapter(Llama(base), folder))
    # peft gets weights of its own: AVX512_BF16 processors rewrite them in place at the first forward pass
    theirs = reference(PeftModel.from_pretrained(load(), str(folder)))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    assert (ours - plain).abs().max() > 0.1, "the adapter has an effect"


def test_adapter_has_the_type_of_a_bfloat16_base(tmp_path):
    folder = save_lora(tmp_path, tiny_reference())
    exact = lean(with_adapter(Llama(tiny_reference()), folder))
    rounded = lean(with_adapter(Llama(tiny_reference().bfloat16()), folder))
    # an eighth of the distance to the model without the adapter
    assert (rounded - exact).abs().mean() < (lean(Llama(tiny_reference())) - exact).abs().mean() / 8


def test_base_stays_unchanged(tmp_path):
    """The weights are shared by all adapters and by requests without one."""
    folder = save_lora(tmp_path, tiny_reference())
    base = Llama(tiny_reference())
    before = lean(base)
    under = with_adapter(base, folder)
    assert not torch.equal(lean(under), before)
    assert torch.equal(lean(base), before)


def test_two_adapters_of_one_base_do_not_mix(tmp_path):
    folders = [save_lora(tmp_path / str(seed), tiny_reference(), seed) for seed in (1, 2)]
    base = Llama(tiny_reference())
    together = [with_adapter(base, folder) for folder in folders]
    for model, folder in zip(together, folders, strict=True):
        assert torch.equal(lean(model), lean(with_adapter(Llama(tiny_reference()), folder)))


def test_adapter_of_another_shape_is_refused(tmp_path: Path):
    folder = save_lora(tmp_path, tiny_reference(hidden_size=64))
    with pytest.raises(AdapterError, match="was trained on another model"):
        with_adapter(Llama(tiny_reference()), folder)
