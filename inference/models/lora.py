"""A LoRA adapter beside a loaded Llama: each adapted matrix gives ``W x + scale * B A x``, and ``W`` stays as it is.

So one copy of the weights, in whatever format it is held, serves with any adapter and without. Knows nothing of where
adapters are kept or who asks for them.

Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1, as peft computes it, to which a parity test holds it.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.models.adapter_facts import WEIGHTS, AdapterError
from inference.models.forward import LanguageModel
from inference.models.lora_files import LoraFiles, check_fits, read_lora, tensor_name


def with_adapter(model: LanguageModel, folder: Path) -> LanguageModel:
    """``model`` under the adapter in a peft folder. The weights are shared; ``model`` itself stays without.

    Raises AdapterError where the adapter can't be served unmerged or was made for another shape.
    """
    lora = read_lora(folder)
    check_fits(lora, model.config.to_dict())
    return model.with_low_rank(_tensors(lora, model))


def _tensors(lora: LoraFiles, model: LanguageModel) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of every matrix, on the model's device and in the type of its activations."""
    try:
        with safe_open(lora.folder / WEIGHTS, framework="pt") as file:
            return {
                name: (
                    file.get_tensor(tensor_name(name, "A")).to(model.device, model.dtype),
                    (file.get_tensor(tensor_name(name, "B")).float() * lora.scale).to(model.device, model.dtype),
                )
                for name in lora.shapes
            }
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"The tensors in {lora.folder} can't be read ({error}).") from error
