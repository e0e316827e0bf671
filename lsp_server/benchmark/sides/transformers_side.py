"""transformers' ``generate()`` in a process of its own, over JSON lines.

The process runs ``inference.evaluation.transformers_rival``; this module must not import torch.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from inference.system.child_processes import NEUTRAL_FOLDER, python_module
from lsp_server.benchmark.sides.side import BenchError, Stopwatch, TimedCompletion, TimedRequest

COMMAND = python_module("inference.evaluation.transformers_rival")


class TransformersSide:
    """The process with its model loaded. It takes one request at a time and keeps no KV cache between requests.

    Every request of a trace thus takes as long as the first, and a sample of them is enough.
    """

    parallel = False
    every = 5

    def __init__(self, process: Process, form: str) -> None:
        self.name = f"transformers ({form})"
        self.pid: int | None = process.pid
        self._process = process

    async def answer(self, ask: TimedRequest) -> TimedCompletion:
        """See ``Side``."""
        assert self._process.stdin is not None
        watch = Stopwatch()
        self._process.stdin.write(json.dumps({"prompt": list(ask.ids), "tokens": ask.tokens}).encode() + b"\n")
        while "done" not in (message := await next_message(self._process)):
            watch.part(len(watch.arrivals) + 1)
        return watch.answer(self.name, ask, message["done"], prefilled=len(ask.ids))

    async def chat(self) -> AsyncGenerator[None, None]:
        """See ``Side``."""
        raise BenchError(f"{self.name} takes one request at a time.")
        yield

    async def aclose(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def start_transformers(model: str, form: str, command: Sequence[str] = COMMAND) -> TransformersSide:
    """Start the process and wait until the model is loaded. Raises ``BenchError``."""
    process = await asyncio.create_subprocess_exec(
        *command, "--model", model, "--format", form, stdin=PIPE, stdout=PIPE, cwd=NEUTRAL_FOLDER
    )
    return TransformersSide(process, (await next_message(process))["format"])


async def next_message(process: Process) -> dict[str, Any]:
    """Return the next message. Raises ``BenchError`` for an error or if the process has ended."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    message = json.loads(line) if line else {"error": "it ended without a message"}
    if "error" in message:
        await process.wait()
        raise BenchError(f"transformers can't be measured: {message['error']}")
    return message
