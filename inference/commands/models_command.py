"""``codellama-ls models``: which models there are, which fit this machine, which are installed; and removing one.

Torch-free. Knows neither how models are stored nor how an engine is asked: both are given to ``main``.

``codellama-ls models`` with this user's store and, where one runs, this user's engine.

Torch-free. What is printed and asked is ``models.list_command``'s affair.
"""

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

from inference.client.engine_client import EngineClient, EngineUnavailable
from inference.client.engine_process import socket_path
from inference.models import store
from inference.models.catalog import CATALOG, Model, Role, UnknownModelError, asked_to_infill, find, out_of_date
from inference.models.identify import find_row
from inference.models.shape import Format, Shape, ShapeError
from inference.models.store import StoreError
from inference.planning.planner import RESERVED, Choice, amount, least, plan
from inference.system import machine
from inference.system.machine import Device, Machine
from inference.system.runtime_folder import NotPrivateError


class Store(Protocol):
    """The installed models (``models.inventory``)."""

    def all_installed(self) -> Mapping[str, Path]:
        """The folder of every installed model, by id."""
        ...

    def remove(self, model_id: str) -> None:
        """Delete one. Raises OSError or StoreError where that fails."""
        ...


InUse = Callable[[], Collection[str]]
"""The ids of the models that a running engine has loaded; empty where none runs."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits a device, with the context reserved for one role.

    Attributes:
        fits: into what is free now.
        fits_when_idle: into all that the device has.
        fits_as: the first format that fits, or None.
        context_here: tokens of context that it would get in that format.
        needed_bytes: what must be free at least for that format, or for the smallest where none fits.
    """

    fits: bool
    fits_when_idle: bool
    fits_as: Format | None
    context_here: int
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What is known about one model here; an installed one need not be of the catalogue, nor its config.json whole."""

    id: str
    model: Model | None
    shape: Shape | None
    fit: Fit | None
    disk_bytes: int | None
    in_use: bool


RowOf = Callable[[str], Model | None]
"""What is known of a model by its id, or None."""


class _RefusedError(Exception):
    """A model was not removed; the text says why."""


def run(
    argv: Sequence[str],
    *,
    store: Store,
    in_use: InUse,
    look: Callable[[], Machine] = machine.look,
    row_of: RowOf = CATALOG.get,
) -> int:
    """Run ``models [--json]`` or ``models remove ID [--yes]``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="codellama-ls models", description="List the models, or remove one.")
    parser.add_argument("--json", action="store_true", help="print one JSON array, an object a model")
    remove = parser.add_subparsers(dest="action").add_parser("remove", help="delete an installed model from the disk")
    remove.add_argument("id")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(argv)
    if options.action == "remove":
        try:
            return _remove(options.id, store, in_use, sure=options.yes)
        except (UnknownModelError, _RefusedError) as refusal:
            sys.stderr.write(f"{refusal}\n")
            return 1
    found = look()
    rows = list_rows(store.all_installed(), in_use(), found.best, row_of)
    if options.json:
        sys.stdout.write(json.dumps([as_json(row) for row in rows], indent=2) + "\n")
    else:
        _print(rows, found)
    return 0


def list_rows(
    installed: Mapping[str, Path], loaded: Collection[str], device: Device, row_of: RowOf = CATALOG.get
) -> list[ModelRow]:
    """The catalogue in its order, then what else is installed."""
    ids = [*CATALOG, *sorted(installed.keys() - CATALOG.keys())]
    return [_row(model_id, row_of(model_id), installed.get(model_id), model_id in loaded, device) for model_id in ids]


def _row(model_id: str, model: Model | None, folder: Path | None, loaded: bool, device: Device) -> ModelRow:
    shape = model.shape if model else None
    if folder:
        with suppress(ShapeError):
            shape = Shape.from_folder(folder)  # the checkpoint knows better than the catalogue
    limit = model.usable_context if model else shape.positions if shape else 0
    role: Role = "chat" if model and model.chat else "completion"
    fit = _fit(model_id, shape, role, limit, device) if shape else None
    if fit and loaded:
        fit = replace(fit, fits=True, fits_when_idle=True)  # there it is
    return ModelRow(model_id, model, shape, fit, _disk_bytes(folder) if folder else None, loaded)


def _fit(model_id: str, shape: Shape, role: Role, limit: int, device: Device) -> Fit:
    """Whether the reserved slot fits, in NF4 or else doubly quantised, into what is free or else into all there is."""
    formats: tuple[Format, ...] = ("nf4", "nf4-double")
    choices = [Choice(model_id, shape, (role,), form, limit) for form in formats]
    for room in (device, replace(device, free=device.total)):
        for choice in choices:
            if (smallest := least([choice], room)).left >= 0:
                tokens = plan([choice], room).context(role)
                return Fit(room is device, True, choice.form, tokens, smallest.peak)
    return Fit(False, False, None, 0, least(choices[-1:], device).peak)


def as_json(row: ModelRow) -> dict[str, Any]:
    """One row for programs. What can't be known is null."""
    model, shape = row.model, row.shape
    described = ("title", "hub", "infill", "chat", "context", "usable_context", "licence", "licence_url", "policy_url")
    return {
        "id": row.id,
        **{name: getattr(model, name, None) for name in described},
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


def _print(rows: Sequence[ModelRow], found: Machine) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "NF4", "double", "KV/token", "context"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("can", "fits here", "installed"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*_cells(row))
    # Piped output has no width of its own: none is better than cut columns.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    device = found.best
    console.print(
        f"\nFits here: into {device.name}, {amount(device.free, math.floor)} free of {amount(device.total)}, "
        f"with {RESERVED['completion']:,} tokens of context or more."
    )
    if found.note:
        console.print(found.note)
    for row in rows:
        if row.model and out_of_date(row.model):
            console.print(asked_to_infill(row.model))


def _cells(row: ModelRow) -> list[str]:
    shape = row.shape
    if shape is None:
        return [row.id, *["?"] * 7, _installed(row)]
    return [
        row.id,
        f"{shape.parameters:,}",
        amount(shape.weight_bytes("nf4")),
        amount(shape.weight_bytes("nf4-double")),
        f"{shape.kv_bytes_per_token() / 1024:,.4g} KiB",
        _context(row.model) if row.model else _short(shape.positions),
        _abilities(row.model),
        _fits(row),
        _installed(row),
    ]


def _context(model: Model) -> str:
    """Trained tokens, and in brackets what is usable where that is more."""
    return _short(model.context) + (
        f" ({_short(model.usable_context)})" if model.usable_context > model.context else ""
    )


def _short(tokens: int) -> str:
    """16,384 is 16K as people say it, and so is 100,000 100K."""
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
    return f"yes{how}" if fit.fits else f"not now: needs {amount(fit.needed_bytes, math.ceil)} free{how}"


def _installed(row: ModelRow) -> str:
    if row.disk_bytes is None:
        return ""
    return amount(row.disk_bytes) + (", in use" if row.in_use else "")


def _disk_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(name: str, store: Store, in_use: InUse, *, sure: bool) -> int:
    """Remove an installed model; returns 0. Raises _RefusedError where it stays."""
    installed = store.all_installed()
    model_id = name if name in installed else find(name).id
    if model_id not in installed:
        raise _RefusedError(f"{model_id} is not installed.")
    size = amount(_disk_bytes(installed[model_id]))
    if not sure:
        _confirm(model_id, size)
    if model_id in in_use():  # asked last: an engine may have loaded it while the question stood
        raise _RefusedError(f"{model_id} is in use: stop the engine, or have it load another model, then remove it.")
    try:
        store.remove(model_id)
    except StoreError as problem:
        raise _RefusedError(str(problem)) from None
    except OSError as problem:
        raise _RefusedError(f"{model_id} could not be removed: {problem}.") from None
    sys.stdout.write(f"Removed {model_id} ({size}).\n")
    return 0


def _confirm(model_id: str, size: str) -> None:
    if not sys.stdin.isatty():
        raise _RefusedError(f"Removing {model_id} deletes {size}: add --yes to do it without being asked.")
    if input(f"Remove {model_id} ({size})? [y/N] ").strip().lower() not in ("y", "yes"):
        raise _RefusedError(f"{model_id} was kept.")


PATIENCE = 10.0
"""Seconds an engine has to answer; it does so at once, even while it loads."""


def main(argv: Sequence[str]) -> int:
    """Run ``models``; returns the exit code."""
    return run(argv, store=store, in_use=in_use, row_of=find_row)


def in_use() -> set[str]:
    """The models that a running engine has loaded or is loading; empty where none runs."""
    with suppress(NotPrivateError, EngineUnavailable, TimeoutError):
        return asyncio.run(asyncio.wait_for(_loaded(), PATIENCE))
    return set()


async def _loaded() -> set[str]:
    client = EngineClient(socket_path())
    try:
        status = await client.health()
    finally:
        await client.aclose()
    return set() if status.phase == "failed" else status.models
