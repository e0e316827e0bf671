"""A 7B-shaped model on a GPU: load time, memory against the plan, prefill and decode speed.

Speeds are printed, never asserted. With ``DEVICES`` a small shape runs on the CPU.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes.devices import DEVICES, name_of, needs
from fakes.random_nf4 import save_random_nf4

from inference.api.events import Finished, Outcome, Sampling
from inference.engine.engine import Engine
from inference.models.catalog import STARTER, find
from inference.models.loader import load
from inference.models.shape import Shape
from inference.text.llama_tokenizer import load_tokenizer

pytestmark = pytest.mark.slow

PROMPT, ANSWER = 1000, 64
SHAPES = {"cuda": find("codellama-7b").shape, "cpu": Shape(512, 256, 2, 8, 8, 704, head_dim=32, positions=2048)}


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(device: str) -> Iterator[Path]:
    """Build a model and delete it at once; pytest would keep 4 GB for a while."""
    needs("bitsandbytes")
    with TemporaryDirectory() as scratch:
        yield save_random_nf4(Path(scratch) / "model", SHAPES[device])


def test_memory_is_planned_and_measured(folder: Path, device: str) -> None:
    """Runs in a separate process, so that only its own memory counts."""
    command = [sys.executable, "-m", "inference.commands.memory_command", str(folder), "--device", device]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    print(f"\n{name_of(device)}\n{done.stdout}")  # noqa: T201
    assert done.returncode == 0, done.stderr
    assert "Measured, with a prompt of 1,000 tokens" in done.stdout


def test_speed_after_warm_up(folder: Path, device: str) -> None:
    """Loading, a prompt of 1,000 tokens, and 64 generated tokens."""
    started = time.perf_counter()
    engine = Engine(load(folder, "nf4", device), load_tokenizer(folder), STARTER, {"completion": 2048})
    loaded = time.perf_counter() - started
    engine.warm_up()
    warm = time.perf_counter() - started
    outcome = answered(engine, SHAPES[device].vocab)
    print(  # noqa: T201
        f"\n{name_of(device)}: loaded in {loaded:.1f} s, warm after {warm:.1f} s; "
        f"prefill {PROMPT / outcome.prefill_ms * 1000:,.0f} tokens/s, "
        f"decode {outcome.completion_tokens / outcome.decode_ms * 1000:.1f} tokens/s"
    )
    assert (outcome.prompt_tokens, outcome.reused_tokens) == (PROMPT, 0)
    assert outcome.completion_tokens == ANSWER or outcome.cause == "end"


def answered(engine: Engine, vocabulary: int) -> Outcome:
    ids = [(7919 * n + 11) % vocabulary for n in range(PROMPT)]
    steps = engine.complete(ids, sampling=Sampling(max_tokens=ANSWER))
    return next(step.outcome for step in steps if isinstance(step, Finished))
