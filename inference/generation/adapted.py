"""The loaded model under each of the adapters asked for lately. Lives on the model thread; knows no requests.

What an adapter takes beside the weights is small (rank 16 on Code Llama 7B: 80 MB in 16 bits), and the planner does not
count it: so few are kept at a time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from inference.models.adapters import Stamp, stamp
from inference.models.forward import LanguageModel
from inference.models.lora import with_adapter

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
