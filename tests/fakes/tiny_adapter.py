"""A LoRA adapter for the model of ``tiny_gguf``, as the peft folder that training writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fakes.tiny_gguf import PIECES, SENTINELS
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROWS = [PIECES.index(piece) for piece in SENTINELS]
"""The sentinels' rows in the embedding."""


def write_adapter(checkpoint: Path, folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write a random bfloat16 LoRA of all linear layers, with the sentinels' embeddings."""
    settings: dict[str, Any] = {"target_modules": "all-linear", "trainable_token_indices": ROWS, **options}
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model: Any = get_peft_model(base, LoraConfig(r=2, lora_alpha=4, task_type="CAUSAL_LM", **settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    weights = folder / "adapter_model.safetensors"
    halved = {name: weight.to(torch.bfloat16) for name, weight in load_file(weights).items()}
    save_file(halved, weights, metadata={"format": "pt"})
    return folder
