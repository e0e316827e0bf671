"""transformers and bitsandbytes without their bars, warnings and questions to a hub. Knows no model."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from inference.system.progress import OnProgress


def silence() -> None:
    """Have neither transformers nor bitsandbytes ask a hub for anything, or write to the terminal.

    Both consult the environment when they are imported; bitsandbytes would ask the hub for a CPU kernel.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for noisy in ("bitsandbytes.backends.cpu.ops", "accelerate", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def quiet_transformers() -> ModuleType:
    """The library, imported now, without its warnings and bars."""
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@contextmanager
def reported(on_progress: OnProgress | None) -> Iterator[None]:
    """Turn the progress bar that transformers would draw over its tensors into calls."""
    from transformers.utils import logging as bars

    if on_progress is None or not hasattr(bars, "set_tqdm_hook"):
        yield
        return

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") == "Loading weights" and args:
            return _counted(args[0], on_progress)
        return factory(*args, **kwargs)

    previous = bars.set_tqdm_hook(hook)
    try:
        yield
    finally:
        bars.set_tqdm_hook(previous)


def _counted(items: Collection[Any], on_progress: OnProgress) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        yield item
        on_progress(done, len(items))
