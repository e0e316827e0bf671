"""``codellama-ls memory``: what the planner says a model will take, and what it takes once it has answered a request.

The plan is printed before anything is loaded; then the real loader and the real engine run. Knows no server: whoever
wants to know what an editor's engine holds asks the system about that process.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from inference.models import identify, store
from inference.models.catalog import STARTER, Model, UnknownModelError
from inference.models.shape import CHUNK, FORMATS, Format, Shape, ShapeError
from inference.planning.planner import BLOCK, Choice, DoesNotFitError, Plan, amount, plan
from inference.system import machine
from inference.system.machine import Device
from inference.system.memory_usage import GpuProbe, HostProbe, Peak, Probe, Usage

if TYPE_CHECKING:
    from inference.engine.engine import Engine


MAPPED = (
    "Weights that are used as they are stored stay in the checkpoint's files: the system drops their pages when memory "
    "runs short. Those of weights that were converted on the way are counted among them until then."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen: usage after loading and after the request, the most in between, and seconds."""

    loaded: Usage
    answered: Usage
    peak: int
    load_seconds: float
    prefill_seconds: float
    decode_seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 it was measured, 1 it can't be, 2 used wrongly."""
    options = _arguments(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    from inference.models.loader import LoadError
    from inference.server.model_manager import WrongModelError
    from inference.text.prompts import PromptError
    from inference.text.tokenizer import TokenizerError

    try:
        row, folder = _find(options.model)
        device = _device(options.device)
        form = _form(row, folder, device, options.format)
        planned = _plan(row, folder, device, form, options)
        console.print(f"Planned, on {device.name} with {amount(device.free)} free:\n")
        console.print(_planned_table(planned))
        measured = measure(row, folder, form, planned, options)
    except (
        LoadError,
        WrongModelError,
        TokenizerError,
        PromptError,
        ShapeError,
        UnknownModelError,
        store.StoreError,
        DoesNotFitError,
        OSError,
    ) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    console.print(f"\nMeasured, with a request of {options.tokens:,} tokens and {options.answer} in answer:\n")
    console.print(_measured_table(planned, measured))
    if measured.answered.mapped:
        console.print("\n" + MAPPED)
    console.print(
        f"\nLoading took {measured.load_seconds:.1f} s, reading the prompt {measured.prefill_seconds:.1f} s "
        f"({options.tokens / measured.prefill_seconds:,.1f} tokens/s), "
        f"the rest of the answer {measured.decode_seconds:.1f} s.\n{_versions()}."
    )
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls memory", description="Print the memory a model is planned to take, load it, and measure."
    )
    parser.add_argument("model", help="an installed model, or a checkpoint's folder")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS], help="how to hold weights")
    parser.add_argument("--tokens", type=int, default=1000, help="length of the prompt (default: %(default)s)")
    parser.add_argument("--answer", type=int, default=4, help="tokens to generate (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.tokens < 1 or options.answer < 1:
        parser.error("--tokens and --answer must be at least 1")
    return options


def _find(name: str) -> tuple[Model, Path]:
    """An installed model, or one made up for a folder that is none."""
    folder = Path(name)
    if not folder.is_dir():
        row = identify.row_of(name)
        return row, store.installed(row.id)
    shape = Shape.from_folder(folder)
    known = {"context": shape.positions, "usable_context": shape.positions, "infill": False, "chat": None}
    return replace(STARTER, id=folder.resolve().name, title=folder.name, shape=shape, **known), folder


def _device(wanted: str | None) -> Device:
    found = machine.look()
    return found.memory if wanted == "cpu" or not found.gpus else found.best


def _plan(row: Model, folder: Path, device: Device, form: Format, options: argparse.Namespace) -> Plan:
    """A plan with one slot, just long enough for the request. Raises DoesNotFitError."""
    tokens = -(-(options.tokens + options.answer) // BLOCK) * BLOCK
    mapped = _mapped(folder, form, device) if device.kind == "cpu" else 0
    choice = Choice(row.id, Shape.from_folder(folder), ("completion",), form, tokens, mapped)
    planned = plan([choice], device, wanted={"completion": tokens})
    if planned.context("completion") < tokens:
        raise DoesNotFitError(f"There is no room for {tokens:,} tokens: ask for fewer with --tokens.", planned)
    return planned


def _form(row: Model, folder: Path, device: Device, wanted: str) -> Format:
    """How the engine would hold the weights. Raises LoadError, WrongModelError."""
    from inference.models.checkpoint import inspect
    from inference.server.model_manager import ChosenModel

    return ChosenModel(row, inspect(folder), ("completion",)).form(wanted, device)


def _mapped(folder: Path, form: Format, device: Device) -> int:
    """Bytes of weights that a CPU uses as files have them: all that was packed once, else what is stored that way."""
    from inference.models import quantised
    from inference.models.loader import what_is_read
    from inference.planning.planner import value_bytes, weight_bytes

    if form in ("int8", "int4"):
        return weight_bytes(Shape.from_folder(folder), form, device) if quantised.place(folder, form) else 0
    wanted = "nf4" if form == "nf4-double" else form
    checkpoint, loaded = what_is_read(folder, wanted, device.kind, double_quant=form == "nf4-double")
    return checkpoint.mapped_bytes(loaded, value_bytes(form, device), repacked=device.repacks)


def measure(row: Model, folder: Path, form: Format, planned: Plan, options: argparse.Namespace) -> Measured:
    """Load, answer one request, and look at memory on the way."""
    from inference.engine.decode import ChunkSize
    from inference.engine.engine import Engine
    from inference.models.allocators import release
    from inference.models.loader import load
    from inference.text.tokenizer_loader import load_tokenizer

    probe: Probe = HostProbe(folder) if planned.device.kind == "cpu" else GpuProbe(planned.device)
    with Peak(probe) as peak:
        started = time.perf_counter()
        double = form == "nf4-double"
        model = load(folder, "nf4" if double else form, planned.device.kind, double_quant=double)
        engine = Engine(
            model,
            load_tokenizer(folder),
            row,
            {"completion": planned.context("completion")},
            ChunkSize(min(CHUNK, options.tokens), CHUNK),
        )
        release()
        load_seconds, loaded = time.perf_counter() - started, probe.now()
        prefill_seconds, decode_seconds = _request(engine, options.tokens, options.answer)
    release()
    return Measured(loaded, probe.now(), peak.bytes, load_seconds, prefill_seconds, decode_seconds)


def _request(engine: Engine, tokens: int, answer: int) -> tuple[float, float]:
    """Seconds of prefill and of decoding. The prompt is made of ids, as many as were asked for and all different."""
    from inference.api.events import Finished, Sampling

    ids = [(7919 * n + 11) % engine.row.shape.vocab for n in range(tokens)]
    steps = engine.complete(ids, sampling=Sampling(max_tokens=answer))
    outcome = next(step.outcome for step in steps if isinstance(step, Finished))
    return outcome.prefill_ms / 1000, outcome.decode_ms / 1000


def _planned_table(planned: Plan) -> Table:
    table = _table("", "planned")
    for what, how_much in planned.lines():
        table.add_row(what, how_much)
    return table


def _measured_table(planned: Plan, measured: Measured) -> Table:
    after = measured.answered
    mapped = planned.resident - planned.anonymous
    table = _table("", "planned", "after loading", "after the request", "difference")
    own = "anonymous memory between requests" if planned.device.kind == "cpu" else "GPU memory between requests"
    table.add_row(own, *_row(planned.anonymous, measured.loaded.own, after.own))
    if mapped:
        table.add_row("weights mapped from files", *_row(mapped, measured.loaded.mapped, after.mapped)[:3])
    most = planned.peak - mapped
    table.add_row("at most", amount(most), "", amount(measured.peak), _percent(most, measured.peak))
    return table


def _row(planned: int, loaded: int, answered: int) -> list[str]:
    return [amount(planned), amount(loaded), amount(answered), _percent(planned, answered)]


def _versions() -> str:
    """What else a measurement depends on."""
    packages = ("torch", "transformers", "bitsandbytes")
    return ", ".join(["Python " + platform.python_version(), *(f"{name} {version(name)}" for name in packages)])


def _percent(planned: int, measured: int) -> str:
    return f"{100 * (measured - planned) / planned:+.1f} %" if planned else ""


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for n, heading in enumerate(headings):
        table.add_column(heading, justify="right" if n else "left", no_wrap=True)
    return table


if __name__ == "__main__":
    sys.exit(main())
