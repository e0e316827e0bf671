"""Small LoRA adapters with random weights, saved by peft itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapt(model: LlamaForCausalLM, seed: int = 1, **config: Any) -> PeftModel:
    """Return ``model`` with an adapter large enough to change its output; ``config`` overrides peft's configuration."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": SEVEN, "task_type": "CAUSAL_LM"} | config
    adapted = get_peft_model(model, LoraConfig(**settings))  # type: ignore[arg-type]
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(0.0, 0.2)
    return adapted.eval()  # type: ignore[return-value]


def save_lora(folder: Path, model: LlamaForCausalLM, seed: int = 1, **config: Any) -> Path:
    """Write such an adapter to ``folder``. Don't use ``model`` afterwards: peft wraps it in place."""
    adapt(model, seed, **config).save_pretrained(str(folder))
    return folder


def tune(folder: Path, **facts: Any) -> None:
    """Write the metadata that ``codellama-ls tune`` writes beside an adapter."""
    told = {
        "format": 1,
        "base": "starter",
        "base_source": "",
        "created": "2026-01-02T03:04:05+00:00",
        "files": 12,
        "tokens": 3456,
        "before": 9.876,
        "after": 4.321,
    }
    (folder / "tuning.json").write_text(json.dumps(told | facts))
