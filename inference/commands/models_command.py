"""``codellama-ls models``: list the models with what fits this machine, and remove installed ones."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from inference.api.engine_errors import EngineUnavailable
from inference.client.engine_client import EngineClient
from inference.client.engine_process import socket_path
from inference.commands.command_line import OK, confirm, run_command
from inference.errors import CodeLlamaError
from inference.models import store
from inference.models.catalog import CATALOG, Model, Role, find, is_outdated, why_no_infill
from inference.models.identify import find_row
from inference.models.shape import Format, Shape, ShapeError
from inference.planning.planner import RESERVED, Choice, format_bytes, plan, smallest_plan
from inference.system import machine
from inference.system.machine import Device, Machine
from inference.system.runtime_folder import NotPrivateError

ENGINE_SECONDS = 10.0
"""Time limit for the engine's response. It responds immediately, even while it loads."""

InUse = Callable[[], Collection[str]]
"""Returns the ids of the models that the running engine has loaded; empty if none runs."""

RowOf = Callable[[str], Model | None]
"""Returns the catalogue row of a model by id, or None."""


class Store(Protocol):
    """The installed models (``inference.models.store``)."""

    def all_installed(self) -> Mapping[str, Path]:
        """Return the folder of every installed model, by id."""
        ...

    def remove(self, model_id: str) -> None:
        """Delete a model. Raises OSError or StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Fit:
    """The fit of a model on a device, with at least the reserved context of one role.

    Attributes:
        fits: it fits into the free memory.
        fits_when_idle: it fits into the device's total memory.
        fits_as: the first format that fits, or None.
        context_here: tokens of context in that format.
        needed_bytes: free memory required for that format, or for the smallest format if none fits.
    """

    fits: bool
    fits_when_idle: bool
    fits_as: Format | None
    context_here: int
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the list. ``model`` is None outside the catalogue, ``shape`` if config.json can't be read."""

    id: str
    model: Model | None
    shape: Shape | None
    fit: Fit | None
    disk_bytes: int | None
    in_use: bool


def main(argv: Sequence[str]) -> int:
    """Run ``models`` with the user's store and engine; return the exit status."""
    return run(argv, store=store, in_use=in_use, row_of=find_row)


def run(
    argv: Sequence[str],
    *,
    store: Store,
    in_use: InUse,
    look: Callable[[], Machine] = machine.look,
    row_of: RowOf = CATALOG.get,
) -> int:
    """Run ``models [--json]`` or ``models remove ID [--yes]`` and return the exit status."""
    parser = argparse.ArgumentParser(prog="codellama-ls models", description="List the models, or remove one.")
    parser.add_argument("--json", action="store_true", help="print a JSON array with one object per model")
    remove = parser.add_subparsers(dest="action").add_parser("remove", help="delete an installed model from the disk")
    remove.add_argument("id")
    remove.add_argument("--yes", action="store_true", help="don't ask for confirmation")
    options = parser.parse_args(argv)
    if options.action == "remove":
        return run_command(lambda: _remove(options.id, store, in_use, ask=not options.yes))
    found = look()
    rows = list_rows(store.all_installed(), in_use(), found.best, row_of)
    if options.json:
        sys.stdout.write(json.dumps([as_json(row) for row in rows], indent=2) + "\n")
    else:
        _print_table(rows, found)
    return OK


def list_rows(
    installed: Mapping[str, Path], loaded: Collection[str], device: Device, row_of: RowOf = CATALOG.get
) -> list[ModelRow]:
    """Return the catalogue in its order, then the other installed models."""
    ids = [*CATALOG, *sorted(installed.keys() - CATALOG.keys())]
    return [_row(model_id, row_of(model_id), installed.get(model_id), model_id in loaded, device) for model_id in ids]


def _row(model_id: str, model: Model | None, folder: Path | None, loaded: bool, device: Device) -> ModelRow:
    shape = model.shape if model else None
    if folder:
        with suppress(ShapeError):
            shape = Shape.from_folder(folder)  # the checkpoint may differ from the catalogue
    limit = model.usable_context if model else shape.positions if shape else 0
    role: Role = "chat" if model and model.chat else "completion"
    fit = _fit(model_id, shape, role, limit, device) if shape else None
    if fit and loaded:
        fit = replace(fit, fits=True, fits_when_idle=True)  # its own memory is not free
    return ModelRow(model_id, model, shape, fit, _disk_bytes(folder) if folder else None, loaded)


def _fit(model_id: str, shape: Shape, role: Role, limit: int, device: Device) -> Fit:
    """Fit the model into the free memory, else into the total: in NF4, else with double quantisation."""
    formats: tuple[Format, ...] = ("nf4", "nf4-double")
    choices = [Choice(model_id, shape, (role,), form, limit) for form in formats]
    for room in (device, replace(device, free=device.total)):
        for choice in choices:
            if (smallest := smallest_plan([choice], room)).left >= 0:
                tokens = plan([choice], room).context(role)
                return Fit(room is device, True, choice.form, tokens, smallest.peak)
    return Fit(False, False, None, 0, smallest_plan(choices[-1:], device).peak)


def as_json(row: ModelRow) -> dict[str, Any]:
    """Return the JSON object of one row. Unknown values are null."""
    model, shape = row.model, row.shape
    fields = ("title", "hub", "infill", "chat", "context", "usable_context", "licence", "licence_url", "policy_url")
    return {
        "id": row.id,
        **{name: getattr(model, name, None) for name in fields},
        "parameters": shape and shape.parameters,
        "bf16_bytes": shape and shape.weight_bytes("bf16"),
        "nf4_bytes": shape and shape.weight_bytes("nf4"),
        "nf4_double_bytes": shape and shape.weight_bytes("nf4-double"),
        "kv_bytes_per_token": shape and shape.kv_bytes_per_token(),
        "installed": row.disk_bytes is not None,
        "disk_bytes": row.disk_bytes,
        "in_use": row.in_use,
        **(asdict(row.fit) if row.fit else {"fits": False}),
    }


def _print_table(rows: Sequence[ModelRow], found: Machine) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "NF4", "double", "KV/token", "context"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("can", "fits here", "installed"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*_cells(row))
    # Don't cut columns in piped output, which has no width of its own.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    device = found.best
    console.print(
        f'\n"fits here" means: on {device.name} with {format_bytes(device.free, math.floor)} free of '
        f"{format_bytes(device.total)}, and at least {RESERVED['completion']:,} tokens of context."
    )
    if found.note:
        console.print(found.note)
    for row in rows:
        if row.model and is_outdated(row.model):
            console.print(why_no_infill(row.model))


def _cells(row: ModelRow) -> list[str]:
    shape = row.shape
    if shape is None:
        return [row.id, *["?"] * 7, _installed(row)]
    return [
        row.id,
        f"{shape.parameters:,}",
        format_bytes(shape.weight_bytes("nf4")),
        format_bytes(shape.weight_bytes("nf4-double")),
        f"{shape.kv_bytes_per_token() / 1024:,.4g} KiB",
        _context(row.model) if row.model else _short(shape.positions),
        _abilities(row.model),
        _fits(row),
        _installed(row),
    ]


def _context(model: Model) -> str:
    """Return the trained context, and in brackets the usable context if it is longer."""
    return _short(model.context) + (
        f" ({_short(model.usable_context)})" if model.usable_context > model.context else ""
    )


def _short(tokens: int) -> str:
    """Shorten 16,384 to 16K and 100,000 to 100K."""
    return f"{tokens // 1024}K" if tokens % 1024 == 0 else f"{tokens // 1000}K"


def _abilities(model: Model | None) -> str:
    if model is None:
        return "?"
    return ", ".join(["infill" if model.infill else "complete"] + (["chat"] if model.chat else []))


def _fits(row: ModelRow) -> str:
    fit = row.fit
    if fit is None or not fit.fits_when_idle:
        return "no"
    if row.in_use:
        return "loaded"
    how = " (double)" if fit.fits_as == "nf4-double" else ""
    return f"yes{how}" if fit.fits else f"not now: needs {format_bytes(fit.needed_bytes, math.ceil)} free{how}"


def _installed(row: ModelRow) -> str:
    if row.disk_bytes is None:
        return ""
    return format_bytes(row.disk_bytes) + (", in use" if row.in_use else "")


def _disk_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(name: str, store: Store, in_use: InUse, *, ask: bool) -> int:
    """Remove an installed model. Raises CodeLlamaError, UnknownModelError or StoreError."""
    installed = store.all_installed()
    model_id = name if name in installed else find(name).id
    if model_id not in installed:
        raise CodeLlamaError(f"{model_id} is not installed.")
    size = format_bytes(_disk_bytes(installed[model_id]))
    if ask:
        confirm(f"Remove {model_id} ({size})?", f"Removing {model_id} deletes {size}.", f"{model_id} was kept.")
    if model_id in in_use():  # checked last: an engine may have loaded it while the user was asked
        raise CodeLlamaError(f"{model_id} is in use. Run `codellama-ls engine stop`, then remove it.")
    try:
        store.remove(model_id)
    except OSError as error:
        raise CodeLlamaError(f"{model_id} could not be removed: {error}.") from None
    sys.stdout.write(f"Removed {model_id} ({size}).\n")
    return OK


def in_use() -> set[str]:
    """Return the models that the running engine has loaded or is loading; empty if none runs."""
    with suppress(NotPrivateError, EngineUnavailable, TimeoutError):
        return asyncio.run(asyncio.wait_for(_loaded(), ENGINE_SECONDS))
    return set()


async def _loaded() -> set[str]:
    client = EngineClient(socket_path())
    try:
        status = await client.health()
    finally:
        await client.aclose()
    return set() if status.phase == "failed" else status.models
