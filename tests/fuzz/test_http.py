"""Fuzz the engine's HTTP API: a real process with a tiny model survives odd requests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from fakes.tiny_llama import save_checkpoint
from fuzz.http_cases import Case, cases
from fuzz.http_exchange import Connect, exchange
from support.waiting import until

from inference.models import store

pytestmark = pytest.mark.slow

SEED = 18
REQUESTS = 10_000 if os.environ.get("FUZZ") == "long" else 1_000
WARM_UP = 300
AT_ONCE = 8
GROWTH = 48 * 1024 * 1024
"""Bytes that the resident memory may grow after the warm-up. Allocators keep some freed memory."""

REQUEST = {"prompt": "def add(a, b):\n    return ", "max_tokens": 12, "logprobs": 1}


@dataclass
class RunningEngine:
    """An engine process with its listeners, token and log."""

    child: subprocess.Popen[bytes]
    socket: Path
    port: int
    authorization: bytes
    log: Path

    @property
    def alive(self) -> bool:
        return self.child.poll() is None

    @property
    def resident(self) -> int:
        """Bytes of resident memory."""
        return psutil.Process(self.child.pid).memory_info().rss if self.alive else 0

    async def complete(self) -> str:
        """Send a valid request and return its text, which is always the same."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client:
            response = await client.post("/v1/completions", json=REQUEST)
        return response.json()["choices"][0]["text"]


@dataclass
class Tally:
    """Counts of responses, and faults."""

    statuses: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, case: Case, statuses: list[int]) -> None:
        self.statuses.update(statuses)
        self.silent += not statuses
        if 500 in statuses:
            self.faults.append(f"request {number} got status 500: {case.sent[:600]!r}")

    def fail(self, number: int, case: Case, error: Exception) -> None:
        self.faults.append(f"request {number} got no response ({error!r}): {case.sent[:600]!r}")

    @property
    def classes(self) -> dict[str, int]:
        """Responses by class of status."""
        found = Counter(f"{status // 100}xx" for status in self.statuses.elements())
        return dict(sorted(found.items()))


async def test_engine_survives_a_thousand_odd_requests(runtime, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    async with started(runtime) as engine:
        expected = await engine.complete()
        await run(engine, cases(Random(SEED + 1), WARM_UP, engine.authorization))
        before, begun = engine.resident, time.monotonic()
        tally = await run(engine, cases(Random(SEED), REQUESTS, engine.authorization))
        after = engine.resident
        report(tally, before, after, time.monotonic() - begun, crashes=int(not engine.alive))
        assert tally.faults == []
        assert engine.alive
        assert await engine.complete() == expected != ""
        assert after - before < GROWTH
        assert "Traceback" not in engine.log.read_text("utf-8", "replace")


async def run(engine: RunningEngine, requests: Iterable[Case]) -> Tally:
    """Send all ``requests``, a few at a time, alternating between the Unix socket and TCP."""
    tally, numbered = Tally(), enumerate(requests)

    async def worker() -> None:
        for number, case in numbered:
            try:
                tally.add(number, case, await exchange(connect(engine, number), case))
            except (TimeoutError, ValueError, OSError) as error:
                tally.fail(number, case, error)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return tally


def connect(engine: RunningEngine, number: int) -> Connect:
    if number % 2:
        return lambda: asyncio.open_connection("127.0.0.1", engine.port)
    return lambda: asyncio.open_unix_connection(str(engine.socket))


def report(tally: Tally, before: int, after: int, seconds: float, crashes: int) -> None:
    """Print the figures as a table, and append them to the file that ``FUZZ_FIGURES`` names."""
    rows = {
        "requests": REQUESTS,
        **{f"responses {kind}": count for kind, count in tally.classes.items()},
        "malformed requests closed without a response": tally.silent,
        "responses 500": tally.statuses[500],
        "without a response": sum("no response" in fault for fault in tally.faults),
        "crashes": crashes,
        "resident memory after warm-up, MiB": before // 2**20,
        "resident memory at the end, MiB": after // 2**20,
        "seconds": round(seconds),
    }
    table = [
        f"| HTTP fuzz, seed {SEED} | |",
        "|---|---:|",
        *(f"| {name} | {value:,} |" for name, value in rows.items()),
    ]
    print("\n".join(table))  # noqa: T201
    if path := os.environ.get("FUZZ_FIGURES"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write("\n".join([*table, "", ""]))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a model with random weights that can infill and chat."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder / "models"))
    with store.locked("tiny", on_wait=lambda: None), store.installing("tiny", "a test", 0) as staging:
        save_checkpoint(staging.checkpoint, sentinels=True, max_position_embeddings=512)
        staging.facts.update(source="a test", licence="none", licence_url="", trained={"infill": True, "chat": "llama"})


@contextmanager
def process(runtime: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start an engine process that serves ``tiny`` on both listeners; yield it and its log."""
    log = runtime / "fuzz.log"
    command = [sys.executable, "-P", "-m", "inference.server.process"]
    command += ["--model", "tiny", "--tcp", "0", "--format", "fp32"]
    with log.open("wb") as stderr:
        child = subprocess.Popen(command, stderr=stderr)
    try:
        yield child, log
    finally:
        child.terminate()
        child.wait(30)


@asynccontextmanager
async def started(runtime: Path) -> AsyncIterator[RunningEngine]:
    """Start an engine, wait until it is ready, and yield it."""
    with process(runtime) as (child, log):
        await until(lambda: "listening on http://" in log.read_text() or child.poll() is not None, 60)
        port = int(log.read_text().split("listening on http://127.0.0.1:")[1].split()[0])
        authorization = b"authorization: Bearer " + (runtime / "engine.token").read_bytes().strip()
        engine = RunningEngine(child, runtime / "engine.sock", port, authorization, log)
        await ready(engine)
        yield engine


async def ready(engine: RunningEngine) -> None:
    """Wait until the lease reports that the model is loaded."""
    transport = httpx.AsyncHTTPTransport(uds=str(engine.socket))
    client = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=120)
    async with client, client.stream("GET", "/lease") as response:
        async for line in response.aiter_lines():
            assert '"phase": "failed"' not in line
            if '"phase": "ready"' in line:
                return
    raise AssertionError("the engine ended before it was ready")
