"""What the model thread does before it serves: plan the memory of all models, refuse what cannot fit, load, warm up.

Knows no HTTP; imports torch, so only the model thread may call it. Models are planned in words a person can check, item
by item, before the first weight is read.

The models in memory, or not: loaded at the start, unloaded when nobody asks for long, loaded again for who does.

Lives on the event loop; loading and freeing happen on the model thread, between two steps. Torch-free; what loading is
(``loading``) and how memory is given back are passed in.
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
from inference.models.catalog import Model, Role, asked_to_chat, asked_to_infill
from inference.models.checkpoint import Checkpoint, NativeFormat, inspect
from inference.models.identify import row_of
from inference.models.shape import Format, Shape
from inference.models.store import installed
from inference.planning.choice import plan_or_suggest
from inference.planning.planner import OVERHEAD, Choice, DoesNotFitError, Plan, amount, plan
from inference.server.router import LoadedModel
from inference.server.scheduler import Scheduler
from inference.system import machine
from inference.system.machine import Device

if TYPE_CHECKING:
    from inference.engine.engine import Engine


log = logging.getLogger(__name__)

Tell = Callable[[str, int], None]
"""Told what is being done, and how far it is in percent."""

DRAFTS_VARIABLE = "CODELLAMA_LS_DRAFTS"
"""Set to 0, every step decodes one token: the same answers, to measure what drafts gain."""

SMALLEST_CONTEXT = 256
"""Tokens below which a prompt is not worth asking; who sets less gets this."""

SMALL = 1_000_000_000
"""Parameters up to which a CPU gives a weight 8 bits, or 32 where the C library can't be had (``loader``), by default.

To a small model each bit is worth more, and reading it costs less.
"""


class WrongModelError(Exception):
    """A model was chosen for what it was not trained for; the text says what to choose instead."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What the engine is to serve.

    Attributes:
        completion: the id of the model for completion.
        chat: that of the model for chat; the same one is loaded once.
        format: how weights are held, or ``auto``.
        context: tokens of context for each role, or None for what the planner gives.
    """

    completion: str
    chat: str
    format: Format | str = "auto"
    context: int | None = None


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """One model to load, and what for."""

    row: Model
    checkpoint: Checkpoint
    roles: tuple[Role, ...]

    def form(self, wanted: str, device: Device) -> Format:
        """How its weights are to be held; one that comes in 4 bits leaves no choice. Raises WrongModelError."""
        if self.checkpoint.quantised:
            return "nf4-double" if self.checkpoint.double_quant else "nf4"
        if wanted == "auto":
            return self._best(device)
        if wanted in get_args(NativeFormat) and device.kind != "cpu":
            raise WrongModelError(f"The format {wanted} is for CPUs: choose nf4, bf16 or fp32, or auto, on a GPU.")
        return wanted  # type: ignore[return-value]  # the command line lets no other through

    def _best(self, device: Device) -> Format:
        if device.kind != "cpu":
            return "nf4"
        from inference.native.native_loader import refusal

        small = self.checkpoint.parameters <= SMALL
        if why := refusal(self.checkpoint):
            log.info("%s is not served by the C library: %s", self.row.id, why)
            return "fp32" if small else "nf4"
        return "int8" if small else "int4"

    def choice(self, form: Format) -> Choice:
        """For the planner. Positions beyond those trained on are for models that were made to bear it."""
        shape = Shape.from_config(self.checkpoint.config)
        limit = self.row.usable_context if shape.positions >= self.row.context else shape.positions
        return Choice(self.row.id, shape, self.roles, form, limit)


def load_models(wanted: ModelChoice, tell: Tell) -> dict[str, Engine]:
    """Every wanted model by id, ready to answer.

    Raises WrongModelError, DoesNotFitError, and what the store and the loader raise, each with a sentence for a person.
    """
    chosen = choose(wanted)
    tell("loading torch", 0)
    planned, choices = plan_all(chosen, wanted, _device())
    for what, how_much in planned.lines():
        log.info("plan: %s: %s", what, how_much)
    tell(summary(planned), 5)
    engines = {}
    for n, (one, choice) in enumerate(zip(chosen, choices, strict=True)):
        engines[one.row.id] = _load(one, choice, planned, _part(tell, n, len(chosen)))
    return engines


def forecast(wanted: ModelChoice) -> tuple[Plan, Sequence[Choice]]:
    """What ``load_models`` would load now, and into what; loads nothing. Raises as it does."""
    return plan_all(choose(wanted), wanted, _device())


def choose(wanted: ModelChoice) -> list[ChosenModel]:
    """Each model once, with the roles it was trained for. Raises as ``load_models`` does; imports no torch."""
    completion, chat = row_of(wanted.completion), row_of(wanted.chat)
    if completion.id == chat.id:
        return [_chosen(completion, ("completion", "chat") if completion.chat else ("completion",))]
    if refusal := asked_to_chat(chat):
        raise WrongModelError(refusal)
    return [_chosen(completion, ("completion",)), _chosen(chat, ("chat",))]


def plan_all(chosen: Sequence[ChosenModel], wanted: ModelChoice, device: Device) -> tuple[Plan, Sequence[Choice]]:
    """What fits. On a GPU, ``auto`` quantises doubly where nothing else does. Raises DoesNotFitError."""
    contexts = _contexts(wanted.context)
    choices = [one.choice(one.form(wanted.format, device)) for one in chosen]
    if wanted.format == "auto" and device.kind == "cuda":
        try:
            return plan(choices, device, wanted=contexts), choices
        except DoesNotFitError:
            choices = [one.choice(one.form("nf4-double", device)) for one in chosen]
    return plan_or_suggest(choices, device, wanted=contexts), choices


def summary(planned: Plan) -> str:
    """A plan in one line, for who waits."""
    need, free = amount(planned.peak, math.ceil), amount(planned.device.free, math.floor)
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
    """Where models will be loaded. Memory is measured before torch takes its share, which the plan counts.

    So a GPU's free memory is put back to what it was before this process had a context on it.
    """
    found = machine.look()
    if len(found.gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = found.best.uuid  # before torch counts them
    import torch

    if not torch.cuda.is_available():
        return found.memory
    free, total = torch.cuda.mem_get_info()
    return Device("cuda", torch.cuda.get_device_name(), total, min(total, free + OVERHEAD["cuda"]))


def _load(one: ChosenModel, choice: Choice, planned: Plan, tell: Tell) -> Engine:
    from inference.engine.engine import Engine
    from inference.models.cuda_graphs import GraphedLlama
    from inference.models.llama import Llama
    from inference.models.loader import load
    from inference.text.tokenizer_loader import load_tokenizer

    folder, title = one.checkpoint.folder, one.row.title
    double = choice.form == "nf4-double"
    model = load(
        folder,
        "nf4" if choice.form == "nf4-double" else choice.form,
        device=planned.device.kind,
        on_progress=lambda done, of: tell(f"loading {title}", 95 * done // of),
        double_quant=double,
    )
    if isinstance(model, Llama) and model.device.type == "cuda":
        model = GraphedLlama(model)
    contexts: Mapping[Role, int] = {role: planned.context(role) for role in one.roles}
    engine = Engine(model, load_tokenizer(folder), one.row, contexts, drafts=os.environ.get(DRAFTS_VARIABLE) != "0")
    tell(f"warming up {title}", 95)
    engine.warm_up()
    return engine


def _part(tell: Tell, n: int, of: int) -> Tell:
    """The progress of the n-th model in that of all, which begins at 10 percent."""
    return lambda message, percent: tell(message, 10 + (100 * n + percent) * 90 // (100 * of))


"""Told what is being done, and how far it is in percent."""

Load = Callable[[Tell], Mapping[str, LoadedModel]]

UNLOADED = "the weights were unloaded to free memory; the next request loads them"


def free() -> None:
    """Give back what nobody holds any more, to the system and to the GPU's other users. On the model thread."""
    gc.collect()
    if "torch" in sys.modules:
        from inference.models.allocators import release

        release()


class ModelManager:
    """``answerers`` are the models by id; there are none until all are loaded."""

    def __init__(self, load: Load, board: StatusBoard, scheduler: Scheduler, free: Callable[[], None] = free) -> None:
        self.answerers: Mapping[str, LoadedModel] = {}
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

    def _ready(self, answerers: Mapping[str, LoadedModel]) -> None:
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
