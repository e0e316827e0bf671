"""Unmerged LoRA adapters: each adapted matrix computes ``W x + scale * B A x``, and ``W`` stays unchanged.

One copy of the weights, in any format, serves requests with and without adapters. A parity test holds this to peft.

Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1.
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

log = logging.getLogger(__name__)

MAX_ADAPTERS = 4
"""Adapters kept in memory. The planner does not count them; at rank 16 Code Llama 7B's takes 80 MB in 16 bits."""


def with_adapter(model: LanguageModel, folder: Path) -> LanguageModel:
    """Return a model that shares the weights of ``model`` and applies the adapter in a peft folder.

    Raises AdapterError if the adapter can't be served unmerged or does not fit the model's shape.
    """
    lora = read_lora(folder)
    check_fits(lora, model.config.to_dict())
    return model.with_low_rank(_tensors(lora, model))


def _tensors(lora: LoraFiles, model: LanguageModel) -> dict[str, tuple[Tensor, Tensor]]:
    """Read A ``[rank, in]`` and B ``[out, rank]``, times the scale, of every matrix, in the model's dtype."""
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


class AdapterCache:
    """The adapters of one base model that were used last. ``on_drop`` is called with each model that is dropped."""

    def __init__(self, base: LanguageModel, on_drop: Callable[[LanguageModel], None], most: int = MAX_ADAPTERS) -> None:
        self._base = base
        self._on_drop = on_drop
        self._most = most
        self._kept: OrderedDict[Path, tuple[Stamp, LanguageModel]] = OrderedDict()  # least recently used first

    def get(self, folder: Path) -> LanguageModel:
        """Return the base under the adapter in ``folder``, reloaded if its files have changed. Raises AdapterError."""
        now = stamp(folder)  # before reading, so that a change while reading is noticed next time
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
