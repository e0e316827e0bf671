"""Load the models the engine serves, unload them when idle, and load them again on demand.

``load_models`` plans the memory of all models before it reads any weights, and refuses what cannot fit. It imports
torch and runs on the model thread. ``ModelManager`` lives on the event loop and does not import torch.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from inference.api.status import StatusBoard
from inference.errors import CodeLlamaError
from inference.models.catalog import Model, Role, why_no_chat, why_no_infill
from inference.models.checkpoint import Checkpoint, NativeFormat, inspect
from inference.models.identify import row_of
from inference.models.shape import Format, Shape
from inference.models.store import installed
from inference.planning.alternatives import plan_or_suggest
from inference.planning.planner import OVERHEAD, Choice, DoesNotFitError, Plan, format_bytes, plan
from inference.server.router import LoadedModel
from inference.server.scheduler import Scheduler
from inference.system import machine
from inference.system.machine import Device

if TYPE_CHECKING:
    from inference.engine.engine import Engine

log = logging.getLogger(__name__)

ReportProgress = Callable[[str, int], None]
"""Called with what is being done and the progress in percent."""

Load = Callable[[ReportProgress], Mapping[str, LoadedModel]]

DRAFTS_VARIABLE = "CODELLAMA_LS_DRAFTS"
"""Environment variable: 0 turns speculative decoding off, to measure its gain. The output is the same."""

SMALLEST_CONTEXT = 256
"""Tokens of context that a model gets at least. A shorter prompt is of no use."""

SMALL = 1_000_000_000
"""Parameters up to which ``auto`` means 8 bits a weight on a CPU, or 32 bits without the C library.

A small model loses more by quantisation, and reading its weights takes less time.
"""

UNLOADED = "the weights were unloaded to free memory; the next request loads them"


class WrongModelError(CodeLlamaError):
    """A model cannot serve the role or format chosen for it. The message names an alternative."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models to serve.

    Attributes:
        completion: id of the completion model.
        chat: id of the chat model. If both are the same, it is loaded once.
        format: format of the weights, or ``auto``.
        context: tokens of context for each role, or None to let the planner decide.
    """

    completion: str
    chat: str
    format: Format | str = "auto"
    context: int | None = None


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """An installed model to load and the roles it will serve."""

    row: Model
    checkpoint: Checkpoint
    roles: tuple[Role, ...]

    def form(self, wanted: str, device: Device) -> Format:
        """Return the format of the weights in memory. A 4-bit checkpoint has only one. Raises WrongModelError."""
        if self.checkpoint.quantised:
            return "nf4-double" if self.checkpoint.double_quant else "nf4"
        if wanted == "auto":
            return self._best(device)
        if wanted in get_args(NativeFormat) and device.kind != "cpu":
            raise WrongModelError(f"The format {wanted} is for CPUs only. Choose nf4, bf16, fp32 or auto on a GPU.")
        return wanted  # type: ignore[return-value]  # the command line allows only formats

    def _best(self, device: Device) -> Format:
        if device.kind != "cpu":
            return "nf4"
        from inference.native.native_llama import why_unsupported

        small = self.checkpoint.parameters <= SMALL
        if reason := why_unsupported(self.checkpoint):
            log.info("%s is not served by the C library: %s", self.row.id, reason)
            return "fp32" if small else "nf4"
        return "int8" if small else "int4"

    def choice(self, form: Format) -> Choice:
        """Return the planner's input. Only models made for it get more context than they were trained on."""
        shape = Shape.from_config(self.checkpoint.config)
        limit = self.row.usable_context if shape.positions >= self.row.context else shape.positions
        return Choice(self.row.id, shape, self.roles, form, limit)


def load_models(wanted: ModelChoice, report: ReportProgress) -> dict[str, Engine]:
    """Load all models and return the engines by model id, ready for requests.

    Raises WrongModelError, DoesNotFitError, and the errors of the store and the loader. All messages are for the user.
    """
    chosen = choose_models(wanted)
    report("loading torch", 0)
    planned, choices = plan_all(chosen, wanted, _device())
    for name, size in planned.lines():
        log.info("plan: %s: %s", name, size)
    report(plan_summary(planned), 5)
    engines = {}
    for n, (one, choice) in enumerate(zip(chosen, choices, strict=True)):
        engines[one.row.id] = _load(one, choice, planned, _part(report, n, len(chosen)))
    return engines


def plan_models(wanted: ModelChoice) -> tuple[Plan, Sequence[Choice]]:
    """Return the plan that ``load_models`` would follow, without loading. Raises the same errors."""
    return plan_all(choose_models(wanted), wanted, _device())


def choose_models(wanted: ModelChoice) -> list[ChosenModel]:
    """Return each model once, with the roles it was trained for. Does not import torch.

    Raises WrongModelError if the chat model cannot chat, and the errors of the store.
    """
    completion, chat = row_of(wanted.completion), row_of(wanted.chat)
    if completion.id == chat.id:
        return [_chosen(completion, ("completion", "chat") if completion.chat else ("completion",))]
    if refusal := why_no_chat(chat):
        raise WrongModelError(refusal)
    return [_chosen(completion, ("completion",)), _chosen(chat, ("chat",))]


def plan_all(chosen: Sequence[ChosenModel], wanted: ModelChoice, device: Device) -> tuple[Plan, Sequence[Choice]]:
    """Plan the memory of all models. Raises DoesNotFitError.

    On a GPU, ``auto`` means NF4, or NF4 with double quantisation if nothing else fits.
    """
    contexts = _contexts(wanted.context)
    choices = [one.choice(one.form(wanted.format, device)) for one in chosen]
    if wanted.format == "auto" and device.kind == "cuda":
        try:
            return plan(choices, device, wanted=contexts), choices
        except DoesNotFitError:
            choices = [one.choice(one.form("nf4-double", device)) for one in chosen]
    return plan_or_suggest(choices, device, wanted=contexts), choices


def plan_summary(planned: Plan) -> str:
    """Return a plan in one line."""
    need, free = format_bytes(planned.peak, math.ceil), format_bytes(planned.device.free, math.floor)
    contexts = ", ".join(f"{slot.tokens:,} tokens for {slot.role}" for slot in planned.slots)
    return f"needs {need} of {free} free, context: {contexts}"


def _chosen(row: Model, roles: tuple[Role, ...]) -> ChosenModel:
    return ChosenModel(row, inspect(installed(row.id)), roles)


def _contexts(tokens: int | None) -> Mapping[Role, int] | None:
    if tokens is None:
        return None
    tokens = max(tokens, SMALLEST_CONTEXT)
    return {"completion": tokens, "chat": tokens}


def _device() -> Device:
    """Return the device to load into, with its free memory before torch took any.

    The plan counts torch's own share. A GPU's free memory is therefore corrected for this process's CUDA context.
    """
    found = machine.look()
    if len(found.gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = found.best.uuid  # before torch counts the GPUs
    import torch

    if not torch.cuda.is_available():
        return found.memory
    free, total = torch.cuda.mem_get_info()
    return Device("cuda", torch.cuda.get_device_name(), total, min(total, free + OVERHEAD["cuda"]))


def _load(one: ChosenModel, choice: Choice, planned: Plan, report: ReportProgress) -> Engine:
    from inference.engine.engine import Engine
    from inference.models.cuda_graphs import GraphedLlama
    from inference.models.llama import Llama
    from inference.models.loader import load
    from inference.text.llama_tokenizer import load_tokenizer

    folder, title = one.checkpoint.folder, one.row.title
    double = choice.form == "nf4-double"
    model = load(
        folder,
        "nf4" if choice.form == "nf4-double" else choice.form,
        device=planned.device.kind,
        on_progress=lambda done, of: report(f"loading {title}", 95 * done // of),
        double_quant=double,
    )
    if isinstance(model, Llama) and model.device.type == "cuda":
        model = GraphedLlama(model)
    contexts: Mapping[Role, int] = {role: planned.context(role) for role in one.roles}
    engine = Engine(model, load_tokenizer(folder), one.row, contexts, drafts=os.environ.get(DRAFTS_VARIABLE) != "0")
    report(f"warming up {title}", 95)
    engine.warm_up()
    return engine


def _part(report: ReportProgress, n: int, of: int) -> ReportProgress:
    """Scale the progress of model ``n`` to that of all models, which starts at 10 percent."""
    return lambda message, percent: report(message, 10 + (100 * n + percent) * 90 // (100 * of))


def free_memory() -> None:
    """Return unused memory to the system and to the GPU's other users. Called on the model thread."""
    gc.collect()
    if "torch" in sys.modules:
        from inference.models.allocators import release

        release()


class ModelManager:
    """Loads and unloads the models. ``loaded`` has them by id; it is empty until all are loaded."""

    def __init__(
        self, load: Load, board: StatusBoard, scheduler: Scheduler, free: Callable[[], None] = free_memory
    ) -> None:
        self.loaded: Mapping[str, LoadedModel] = {}
        self.loads = 0
        self._load, self._free = load, free
        self._board, self._scheduler = board, scheduler
        self._loop = asyncio.get_running_loop()

    def load(self) -> None:
        """Start loading. Progress and result are posted to the status board."""
        self.loads += 1
        self._board.set(phase="loading", message="starting", progress=0)
        self._scheduler.call(self._load_all)

    def retry(self) -> None:
        """Load again if loading has failed. A model may have been pulled, or memory freed, since."""
        if self._board.status.phase == "failed":
            self.load()

    def unload(self) -> bool:
        """Unload the models unless a request uses them; return whether they were unloaded."""
        if self._board.status.phase != "ready" or self._scheduler.waiting:
            return False
        self.loaded = {}
        self._board.set(phase="idle", message=UNLOADED, progress=0)
        self._scheduler.call(self._free)
        log.info("unloaded the weights")
        return True

    async def wake(self, seconds: float) -> None:
        """Load unloaded models. Return when loading has ended, or after ``seconds``."""
        if self._board.status.phase != "idle":
            return
        self.load()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for status in self._board.watch():
                    if status.phase != "loading":
                        return

    def _load_all(self) -> None:
        """Load on the model thread."""
        try:
            loaded = self._load(lambda message, percent: self._post(message=message, progress=percent))
        except Exception as error:
            log.exception("the model could not be loaded")
            self._post(phase="failed", message=_error_message(error))
        else:
            self._loop.call_soon_threadsafe(self._ready, loaded)

    def _post(self, **changes: object) -> None:
        self._loop.call_soon_threadsafe(partial(self._set, **changes))

    def _ready(self, loaded: Mapping[str, LoadedModel]) -> None:
        self.loaded = loaded
        limits = why_no_infill(loaded[self._board.status.model].row) or ""
        if limits:
            log.info("%s", limits)
        self._set(phase="ready", message="ready", progress=100, limits=limits)

    def _set(self, **changes: object) -> None:
        if self._board.status.phase == "loading":  # keep the status of an engine that is shutting down
            self._board.set(**changes)


def _error_message(error: Exception) -> str:
    """Return the message of our own errors, which are written for users. The log has the details of others."""
    own = type(error).__module__.startswith("inference.")
    return str(error) if own else f"The model could not be loaded ({type(error).__name__}: {error})."
