"""A scripted engine in a separate thread, so that tests may block while they drive an editor."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import RunningService, serving

from inference.api.events import Sampling, Steps
from inference.models.adapter_store import FOLDER_VARIABLE
from inference.system.runtime_folder import runtime_folder
from lsp_server.backend.allowed_servers import LOCAL, URL_VARIABLE
from lsp_server.prompts import templates
from lsp_server.usage_statistics import storage


@dataclass
class Model(ScriptedModel):
    """A model that generates the text of the longest key in ``texts`` that ends the prompt, else an empty text.

    A key may also contain the seed of an alternative.
    """

    texts: Mapping[str | tuple[str, int], str] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)

    def complete(self, prompt, suffix, sampling: Sampling, rule, options, context=()) -> Steps:
        self.prompts.append(str(prompt))
        known = [key for key in self.texts if _suits(key, str(prompt), sampling.seed)]
        text = self.texts[max(known, key=str)] if known else ""
        self.pieces = text.splitlines(keepends=True)
        return super().complete(prompt, suffix, sampling, rule, options, context)

    def says(self, texts: Mapping[str | tuple[str, int], str]) -> None:
        """Replace the texts and clear the log."""
        self.texts, self.prompts, self.hold, self.answers, self.log = texts, [], False, [], []
        self.asked.clear()
        self.go.clear()
        self.began.clear()


def _suits(key: str | tuple[str, int], prompt: str, seed: int | None) -> bool:
    end, of = key if isinstance(key, tuple) else (key, None)
    return prompt.endswith(end) and seed == of


@dataclass
class Engine:
    """The service in its thread. It can be stopped and restarted under the same name."""

    model: Model
    runtime: Path
    running: RunningService | None = None
    _stop: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    @property
    def requests(self) -> int:
        """The number of requests in the engine."""
        assert self.running is not None
        return self.running.service.requests.held

    def start(self) -> None:
        ready = threading.Event()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with serving(self.runtime, self.model) as running:
                self.running = running
                ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        self._thread.start()
        assert ready.wait(30)

    def stop(self) -> None:
        assert self._loop is not None and self._stop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()


@contextmanager
def engine_in_a_thread() -> Iterator[Engine]:
    """Start an engine with separate folders, so that no user files are read or written."""
    folder = tempfile.mkdtemp(prefix="cls-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        patch.setenv(FOLDER_VARIABLE, f"{folder}/adapters")
        patch.setenv(storage.FOLDER_VARIABLE, f"{folder}/statistics")
        patch.setenv(URL_VARIABLE, LOCAL)
        patch.setenv(templates.FOLDER_VARIABLE, f"{folder}/prompts")
        patch.setenv("NVIM_LOG_FILE", os.devnull)
        for kind in ("CONFIG", "DATA", "STATE"):  # models are in the cache
            patch.setenv(f"XDG_{kind}_HOME", f"{folder}/{kind.lower()}")
        engine = Engine(Model(chat_name="chat"), runtime_folder())
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()
    shutil.rmtree(folder, ignore_errors=True)
