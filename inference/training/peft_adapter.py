"""LoRA adapters of a loaded model through peft: attach, save as a standard peft folder, load.

Sources: LoRA (arXiv 2106.09685), QLoRA (arXiv 2305.14314).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from inference.models.adapter_files import WEIGHTS, AdapterError
from inference.training.recipe import Recipe


def attach(base: Any, recipe: Recipe, new_tokens: Sequence[int] = (), *, recompute: bool = False) -> Any:
    """Attach a new adapter to every linear layer of ``base``, a transformers model whose own weights stay frozen.

    ``new_tokens`` are ids with untrained embeddings, which are learnt with the adapter. The adapter's weights are in
    float32 whatever the base's format. ``recompute`` turns on gradient checkpointing: only layer inputs are kept for
    the backward pass.
    """
    import peft

    logging.getLogger("peft").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)  # peft's call
    config = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules="all-linear",
        trainable_token_indices={"embed_tokens": list(new_tokens)} if new_tokens else None,
        task_type="CAUSAL_LM",
    )
    if recompute:
        enable = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    torch.manual_seed(recipe.seed)
    model = peft.get_peft_model(base, config)
    layers: list[Any] = list(model.modules()) if in_bfloat16(base) else []
    for layer in layers:
        if hasattr(layer, "cast_input_dtype_enabled"):
            layer.cast_input_dtype_enabled = False  # autocast casts weights to bfloat16 instead
    return model


def in_bfloat16(base: Any) -> bool:
    """Return True if the adapter's products are computed in bfloat16 under autocast, from its float32 weights.

    This applies to a bfloat16 base on a CPU and is a quarter faster with AVX512_BF16. A GPU has TF32 for float32.
    """
    weight = base.get_input_embeddings().weight
    four_bits = getattr(base, "is_loaded_in_4bit", False)
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not four_bits


def trainable(model: Any) -> list[torch.nn.Parameter]:
    """Return the weights that training changes: only those of the adapter."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def save(model: Any, folder: Path, base: str, dtype: torch.dtype | None = torch.bfloat16) -> None:
    """Write a standard peft folder. ``dtype`` is that of the stored weights; None keeps the training's.

    ``base`` is the hub id of the base model, never its path on this machine.
    """
    import peft

    folder.mkdir(parents=True, exist_ok=True)
    state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: weight.detach().cpu().to(dtype or weight.dtype).contiguous() for name, weight in state.items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = replace(model.peft_config["default"], base_model_name_or_path=base)
    config.save_pretrained(str(folder))


def load_weights(model: Any, folder: Path) -> None:
    """Load saved weights into the adapter attached to ``model``. Raises AdapterError if their shapes differ."""
    import peft

    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"The adapter in {folder} can't be read ({error}). Choose another adapter.") from error
    expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name: weight.shape for name, weight in weights.items()} != {n: w.shape for n, w in expected.items()}:
        raise AdapterError(
            f"The adapter in {folder} has another base model or rank, so training can't start from it. "
            "Choose another adapter, or another --rank."
        )
    peft.set_peft_model_state_dict(model, weights)
