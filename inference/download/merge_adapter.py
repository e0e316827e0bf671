"""An adapter merged into a model's weights when it is pulled: a peft folder -> the same checkpoint, taught more.

The only file that merges, and so the only one here that names peft. Knows nothing of what the adapter teaches, nor of
where checkpoints come from.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from inference.models.adapter_files import WEIGHTS
from inference.models.checkpoint import LoadError
from inference.models.manifest import sha256
from inference.system.progress import OnProgress

if TYPE_CHECKING:
    from torch import Tensor

STARTER_ADAPTER = Path(__file__).parents[1] / "training" / "starter_adapter"
"""What teaches the starter to infill; its README.md is its card."""

TOLERANCE = 1e-3
"""Relative distance of logits that only differ by the order in which float32 is added up: some 1e-6."""


def fingerprint(folder: Path) -> str | None:
    """The SHA-256 of an adapter's weights, or None where the folder holds none."""
    weights = folder / WEIGHTS
    return sha256(weights) if weights.is_file() else None


def merge(checkpoint: Path, adapter: Path, on_progress: OnProgress) -> None:
    """Add ``adapter`` to the weights in ``checkpoint``: computed in float32, stored in bfloat16 as they were.

    Its other files stay as they are; ``on_progress`` counts the three parts of the work. Raises LoadError where the
    adapter is not one for this checkpoint, or where merged it would not be what it was beside it.
    """
    import torch
    from safetensors.torch import save_file

    from inference.models.quiet_libraries import quiet_transformers, silence

    on_progress(0, 3)
    silence()
    base = quiet_transformers().AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    names = [name for name, _ in base.named_parameters()]  # a tied head is not among them
    on_progress(1, 3)
    merged = _merged(base, adapter)
    on_progress(2, 3)
    weights = merged.state_dict()
    whole = checkpoint / "merged.safetensors"
    save_file({name: weights[name].to(torch.bfloat16) for name in names}, whole, metadata={"format": "pt"})
    whole.replace(checkpoint / "model.safetensors")
    on_progress(3, 3)


def _merged(base: Any, adapter: Path) -> Any:
    """The transformers model with the adapter in its weights; one that lacks a part would teach half of it."""
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
        raise LoadError(f"The adapter in {adapter} can't be merged into this checkpoint: it would answer otherwise.")
    return merged


def _logits(model: Any) -> Tensor:
    """For the vocabulary's first ids, where the starter's control tokens are."""
    import torch

    with torch.inference_mode():
        return model.eval()(torch.arange(min(64, model.config.vocab_size))[None]).logits


def _is_tied(model: Any) -> bool:
    """Whether head and embedding are still one, if they are to be: the file has one place for both."""
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    return not model.config.tie_word_embeddings or bool((head == embedding).all())
