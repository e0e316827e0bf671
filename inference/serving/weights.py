"""The models in memory, or not: loaded at the start, unloaded when nobody asks for long, loaded again for who does.

Lives on the event loop; loading and freeing happen on the model thread, between two steps. Torch-free; what loading is
(``loading``) and how memory is given back are passed in.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from inference.models.catalog import asked_to_infill
from inference.serving.router import Answerer
from inference.serving.scheduler import Scheduler
from inference.serving.state import StatusBoard

log = logging.getLogger(__name__)

Tell = Callable[[str, int], None]
"""Told what is being done, and how far it is in percent."""

Load = Callable[[Tell], Mapping[str, Answerer]]

UNLOADED = "the weights were unloaded to free memory; the next request loads them"


def free() -> None:
    """Give back what nobody holds any more, to the system and to the GPU's other users. On the model thread."""
    gc.collect()
    if "torch" in sys.modules:
        from inference.models.heap import release

        release()


class Weights:
    """``answerers`` are the models by id; there are none until all are loaded."""

    def __init__(self, load: Load, board: StatusBoard, scheduler: Scheduler, free: Callable[[], None] = free) -> None:
        self.answerers: Mapping[str, Answerer] = {}
        self.loads = 0
        self._load, self._free = load, free
        self._board, self._scheduler = board, scheduler
        self._loop = asyncio.get_running_loop()

    def load(self) -> None:
        """Begin to load; the board tells how far it is and how it ends."""
        self.loads += 1
        self._board.set(phase="loading", message="starting", progress=0)
        self._scheduler.call(self._loading)

    def retry(self) -> None:
        """Begin anew where loading failed: the model may have been pulled, or memory freed, since."""
        if self._board.status.phase == "failed":
            self.load()

    def unload(self) -> bool:
        """Let go of the models, where they are loaded and no answer needs them; tells whether it did."""
        if self._board.status.phase != "ready" or self._scheduler.waiting:
            return False
        self.answerers = {}
        self._board.set(phase="idle", message=UNLOADED, progress=0)
        self._scheduler.call(self._free)
        log.info("unloaded the weights")
        return True

    async def awake(self, patience: float) -> None:
        """Have unloaded weights loaded; returns when they are, or can't be, or after ``patience`` seconds."""
        if self._board.status.phase != "idle":
            return
        self.load()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                async for status in self._board.watch():
                    if status.phase != "loading":
                        return

    def _loading(self) -> None:
        """On the model thread."""
        try:
            answerers = self._load(lambda message, percent: self._soon(message=message, progress=percent))
        except Exception as error:
            log.exception("the model could not be loaded")
            self._soon(phase="failed", message=_in_words(error))
        else:
            self._loop.call_soon_threadsafe(self._ready, answerers)

    def _soon(self, **changes: object) -> None:
        self._loop.call_soon_threadsafe(partial(self._tell, **changes))

    def _ready(self, answerers: Mapping[str, Answerer]) -> None:
        self.answerers = answerers
        limits = asked_to_infill(answerers[self._board.status.model].row) or ""
        if limits:
            log.info("%s", limits)
        self._tell(phase="ready", message="ready", progress=100, limits=limits)

    def _tell(self, **changes: object) -> None:
        if self._board.status.phase == "loading":  # an engine that is leaving says so to its end
            self._board.set(**changes)


def _in_words(error: Exception) -> str:
    """Errors of ours are sentences already; of others the log has the details."""
    own = type(error).__module__.startswith("inference.")
    return str(error) if own else f"The model could not be loaded ({type(error).__name__}: {error})."
