"""Merge a LoRA adapter (a peft folder) into the weights of a checkpoint, when the checkpoint is pulled."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from inference.models.adapter_files import WEIGHTS
from inference.models.checkpoint import LoadError
from inference.models.manifest import sha256
from inference.system.terminal import OnProgress

if TYPE_CHECKING:
    from torch import Tensor

STARTER_ADAPTER = Path(__file__).parents[1] / "training" / "starter_adapter"
"""The adapter that teaches the starter to infill. Its README.md is its model card."""

TOLERANCE = 1e-3
"""Largest relative distance of the logits. The order of float32 additions alone causes about 1e-6."""


def fingerprint(folder: Path) -> str | None:
    """Return the SHA-256 of an adapter's weights, or None if the folder holds none."""
    weights = folder / WEIGHTS
    return sha256(weights) if weights.is_file() else None


def merge(checkpoint: Path, adapter: Path, on_progress: OnProgress) -> None:
    """Add ``adapter`` to the weights in ``checkpoint``: computed in float32, stored in bfloat16 as before.

    Other files do not change. ``on_progress`` counts three steps. Raises LoadError if the adapter is not for this
    checkpoint, or if the merged model gives other logits than the adapter beside its base.
    """
    import torch
    from safetensors.torch import save_file

    from inference.models.quiet_libraries import quiet_transformers, silence

    on_progress(0, 3)
    silence()
    base = quiet_transformers().AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    names = [name for name, _ in base.named_parameters()]  # without a tied head
    on_progress(1, 3)
    merged = _merged(base, adapter)
    on_progress(2, 3)
    weights = merged.state_dict()
    whole = checkpoint / "merged.safetensors"
    save_file({name: weights[name].to(torch.bfloat16) for name in names}, whole, metadata={"format": "pt"})
    whole.replace(checkpoint / "model.safetensors")
    on_progress(3, 3)


def _merged(base: Any, adapter: Path) -> Any:
    """Return the transformers model with the adapter merged. An adapter with missing weights is rejected."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Found missing adapter keys")
            beside = PeftModel.from_pretrained(base, adapter)
            wanted = _logits(beside)
            merged = beside.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError, UserWarning) as error:
        reason = str(error).strip().split("\n")[0]
        raise LoadError(f"The adapter in {adapter} can't be merged into this checkpoint ({reason}).") from error
    if (_logits(merged) - wanted).norm() > TOLERANCE * wanted.norm() or not _is_tied(merged):
        raise LoadError(f"The adapter in {adapter} can't be merged into this checkpoint: the logits would change.")
    return merged


def _logits(model: Any) -> Tensor:
    """Return the logits for the first ids of the vocabulary, which include the starter's control tokens."""
    import torch

    with torch.inference_mode():
        return model.eval()(torch.arange(min(64, model.config.vocab_size))[None]).logits


def _is_tied(model: Any) -> bool:
    """Return True unless the config ties head and embedding and they differ: the file stores only one of them."""
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    return not model.config.tie_word_embeddings or bool((head == embedding).all())
