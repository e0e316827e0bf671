"""A LoRA adapter beside a loaded Llama: each adapted matrix gives ``W x + scale * B A x``, and ``W`` stays as it is.

So one copy of the weights, in whatever format it is held, serves with any adapter and without. Knows nothing of where
adapters are kept or who asks for them.

Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1, as peft computes it, to which a parity test holds it.

The loaded model under each of the adapters asked for lately. Lives on the model thread; knows no requests.

What an adapter takes beside the weights is small (rank 16 on Code Llama 7B: 80 MB in 16 bits), and the planner does not
count it: so few are kept at a time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.models.adapter_files import WEIGHTS, AdapterError, LoraFiles, check_fits, read_lora, tensor_name
from inference.models.adapter_store import Stamp, stamp
from inference.models.language_model import LanguageModel


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


log = logging.getLogger(__name__)

MOST = 4
"""Adapters kept in memory at a time."""


class AdaptedModels:
    """One base, and the models that adapters make of it; ``on_drop`` is told of each that is kept no longer."""

    def __init__(self, base: LanguageModel, on_drop: Callable[[LanguageModel], None], most: int = MOST) -> None:
        self._base = base
        self._on_drop = on_drop
        self._most = most
        self._kept: OrderedDict[Path, tuple[Stamp, LanguageModel]] = OrderedDict()  # the least recently used first

    def get(self, folder: Path) -> LanguageModel:
        """The base under the adapter in ``folder`` as its files are now. Raises AdapterError."""
        now = stamp(folder)  # before reading: what changes meanwhile is read again next time
        known, model = self._kept.get(folder, (None, None))
        if model is None or known != now:
            self._drop(folder)
            model = with_adapter(self._base, folder)
            log.info("loaded the adapter %s", folder.name)
        self._kept[folder] = now, model
        self._kept.move_to_end(folder)
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))
        return model

    def _drop(self, folder: Path) -> None:
        if folder in self._kept:
            self._on_drop(self._kept.pop(folder)[1])
