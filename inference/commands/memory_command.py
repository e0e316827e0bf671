"""``codellama-ls memory``: print the memory planned for a model, then load it and measure a request."""

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

from inference.commands.command_line import OK, run_command
from inference.errors import CodeLlamaError
from inference.models import identify, store
from inference.models.catalog import STARTER, Model
from inference.models.shape import CHUNK, FORMATS, Format, Shape
from inference.planning.planner import BLOCK, Choice, Plan, format_bytes, plan
from inference.system import machine
from inference.system.machine import Device
from inference.system.memory_usage import GpuProbe, HostProbe, MemoryProbe, MemoryUsage, PeakMemory

if TYPE_CHECKING:
    from inference.engine.engine import Engine


MAPPED = (
    "Weights used in their stored format are mapped from the checkpoint's files. The system drops their pages when "
    "memory runs short. Pages of weights that were converted while loading count as mapped until then."
)


@dataclass(frozen=True, slots=True)
class MemoryMeasurement:
    """Memory after loading, after the request and at the peak (bytes), and the times (seconds)."""

    loaded: MemoryUsage
    answered: MemoryUsage
    peak: int
    load_seconds: float
    prefill_seconds: float
    decode_seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 1: the model can't be found or loaded; 2: wrong arguments."""
    options = _arguments(argv)
    return run_command(lambda: _run(options), OSError)


def _run(options: argparse.Namespace) -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    row, folder = _find(options.model)
    device = _device(options.device)
    form = _form(row, folder, device, options.format)
    planned = _plan(row, folder, device, form, options)
    console.print(f"Planned, on {device.name} with {format_bytes(device.free)} free:\n")
    console.print(_planned_table(planned))
    measured = measure(row, folder, form, planned, options)
    console.print(f"\nMeasured, with a prompt of {options.tokens:,} tokens and {options.answer} generated tokens:\n")
    console.print(_measured_table(planned, measured))
    if measured.answered.mapped:
        console.print("\n" + MAPPED)
    console.print(
        f"\nLoading took {measured.load_seconds:.1f} s, the prefill {measured.prefill_seconds:.1f} s "
        f"({options.tokens / measured.prefill_seconds:,.1f} tokens/s), "
        f"the rest of the generation {measured.decode_seconds:.1f} s.\n{_versions()}."
    )
    return OK


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls memory",
        description="Print the memory planned for a model, then load it and measure a request.",
    )
    parser.add_argument("model", help="an installed model, or the folder of a checkpoint")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], help="device to load into (default: a GPU if there is one)"
    )
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS], help="format of the weights in memory")
    parser.add_argument(
        "--tokens", type=int, default=1000, help="length of the prompt in tokens (default: %(default)s)"
    )
    parser.add_argument("--answer", type=int, default=4, help="tokens to generate (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.tokens < 1 or options.answer < 1:
        parser.error("--tokens and --answer must be at least 1")
    return options


def _find(name: str) -> tuple[Model, Path]:
    """Return an installed model and its folder; for a folder, a row made from its config.json."""
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
    """Return a plan with just enough context for the request. Raises CodeLlamaError if it does not fit."""
    tokens = -(-(options.tokens + options.answer) // BLOCK) * BLOCK
    mapped = _mapped(folder, form, device) if device.kind == "cpu" else 0
    choice = Choice(row.id, Shape.from_folder(folder), ("completion",), form, tokens, mapped)
    planned = plan([choice], device, wanted={"completion": tokens})
    if planned.context("completion") < tokens:
        raise CodeLlamaError(f"There is no room for {tokens:,} tokens. Choose fewer with --tokens.")
    return planned


def _form(row: Model, folder: Path, device: Device, wanted: str) -> Format:
    """Return the format that the engine would use. Raises LoadError, WrongModelError."""
    from inference.models.checkpoint import inspect
    from inference.server.model_manager import ChosenModel

    return ChosenModel(row, inspect(folder), ("completion",)).form(wanted, device)


def _mapped(folder: Path, form: Format, device: Device) -> int:
    """Return the bytes of weights that a CPU maps from files: packed ones, or those stored in the wanted format."""
    from inference.models import quantised
    from inference.models.loader import resolve_checkpoint
    from inference.planning.planner import value_bytes, weight_bytes

    if form in ("int8", "int4"):
        return weight_bytes(Shape.from_folder(folder), form, device) if quantised.copy_folder(folder, form) else 0
    wanted = "nf4" if form == "nf4-double" else form
    checkpoint, loaded = resolve_checkpoint(folder, wanted, device.kind, double_quant=form == "nf4-double")
    return checkpoint.mapped_bytes(loaded, value_bytes(form, device), repacked=device.repacks)


def measure(row: Model, folder: Path, form: Format, planned: Plan, options: argparse.Namespace) -> MemoryMeasurement:
    """Load the model, run one request, and measure the memory."""
    from inference.engine.decode import ChunkSize
    from inference.engine.engine import Engine
    from inference.models.allocators import release
    from inference.models.loader import load
    from inference.text.llama_tokenizer import load_tokenizer

    probe: MemoryProbe = HostProbe(folder) if planned.device.kind == "cpu" else GpuProbe(planned.device)
    with PeakMemory(probe) as peak:
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
    return MemoryMeasurement(loaded, probe.now(), peak.bytes, load_seconds, prefill_seconds, decode_seconds)


def _request(engine: Engine, tokens: int, answer: int) -> tuple[float, float]:
    """Return the seconds of prefill and of decoding. The prompt consists of ``tokens`` different token ids."""
    from inference.api.events import Finished, Sampling

    ids = [(7919 * n + 11) % engine.row.shape.vocab for n in range(tokens)]
    steps = engine.complete(ids, sampling=Sampling(max_tokens=answer))
    outcome = next(step.outcome for step in steps if isinstance(step, Finished))
    return outcome.prefill_ms / 1000, outcome.decode_ms / 1000


def _planned_table(planned: Plan) -> Table:
    table = _table("", "planned")
    for name, size in planned.lines():
        table.add_row(name, size)
    return table


def _measured_table(planned: Plan, measured: MemoryMeasurement) -> Table:
    after = measured.answered
    mapped = planned.resident - planned.anonymous
    table = _table("", "planned", "after loading", "after the request", "difference")
    own = "anonymous memory between requests" if planned.device.kind == "cpu" else "GPU memory between requests"
    table.add_row(own, *_row(planned.anonymous, measured.loaded.own, after.own))
    if mapped:
        table.add_row("weights mapped from files", *_row(mapped, measured.loaded.mapped, after.mapped)[:3])
    peak = planned.peak - mapped
    table.add_row("peak", format_bytes(peak), "", format_bytes(measured.peak), _percent(peak, measured.peak))
    return table


def _row(planned: int, loaded: int, answered: int) -> list[str]:
    return [format_bytes(planned), format_bytes(loaded), format_bytes(answered), _percent(planned, answered)]


def _versions() -> str:
    """Return the versions that a measurement depends on."""
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
