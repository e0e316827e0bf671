"""Use transformers and bitsandbytes without progress bars, warnings and hub requests."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from inference.system.terminal import OnProgress


def silence() -> None:
    """Keep transformers and bitsandbytes from contacting the hub and from writing to the terminal.

    Must be called before they are imported, when both read the environment. bitsandbytes would otherwise look for a CPU
    kernel on the hub.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for noisy in ("bitsandbytes.backends.cpu.ops", "accelerate", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def quiet_transformers() -> ModuleType:
    """Import transformers without its warnings and progress bars."""
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@contextmanager
def reported(on_progress: OnProgress | None) -> Iterator[None]:
    """Report the loading of tensors to ``on_progress`` instead of drawing transformers' progress bar."""
    from transformers.utils import logging as progress_bars

    if on_progress is None or not hasattr(progress_bars, "set_tqdm_hook"):
        yield
        return

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") == "Loading weights" and args:
            return _counted(args[0], on_progress)
        return factory(*args, **kwargs)

    previous = progress_bars.set_tqdm_hook(hook)
    try:
        yield
    finally:
        progress_bars.set_tqdm_hook(previous)


def _counted(items: Collection[Any], on_progress: OnProgress) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        yield item
        on_progress(done, len(items))
