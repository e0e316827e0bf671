"""``codellama-ls adapters``: which adapters there are, what they gained, and which workspace uses which.

Torch-free. Knows neither how adapters are kept (``adapters``) nor what makes one fit to be served (``lora_files``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference.models import adapter_store, store
from inference.models.adapter_files import check_fits, read_lora
from inference.models.adapter_store import Adapter
from inference.models.checkpoint import LoadError, read_config
from inference.models.store import StoreError


class _RefusedError(Exception):
    """What was asked was not done; the text says why."""


def main(argv: Sequence[str]) -> int:
    """Run ``adapters [enable | disable | add | remove]``; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except (StoreError, _RefusedError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def as_json(adapter: Adapter, workspaces: Sequence[Path]) -> dict[str, Any]:
    """One adapter for programs. What nobody says is null."""
    told = {name: value or None for name, value in asdict(adapter).items()}
    return told | {"folder": str(adapter.folder), "bytes": adapter.bytes, "enabled": [str(path) for path in workspaces]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls adapters", description="List your adapters, or say which workspace uses which."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array, an object an adapter")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(dest="action")
    enable = actions.add_parser("enable", help="have a workspace use an adapter from now on")
    enable.add_argument("name")
    disable = actions.add_parser("disable", help="have a workspace use none any more")
    add = actions.add_parser("add", help="copy a LoRA adapter that peft wrote to yours")
    add.add_argument("folder", type=Path)
    add.add_argument("--name", help="what to call it (default: as its folder)")
    remove = actions.add_parser("remove", help="delete an adapter from the disk")
    remove.add_argument("name")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    for action in (enable, disable):
        action.add_argument(
            "--workspace", type=Path, default=Path(), metavar="PATH", help="which (default: the current folder)"
        )
    for action, run in ((enable, _enable), (disable, _disable), (add, _add), (remove, _remove)):
        action.set_defaults(run=run)
    return parser


def _list(options: argparse.Namespace) -> None:
    found, uses = adapter_store.installed(), adapter_store.enabled()
    workspaces = {name: [path for path, used in uses.items() if used == name] for name in found}
    if options.json:
        listed = [as_json(adapter, workspaces[name]) for name, adapter in found.items()]
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
    elif found:
        _print(found, workspaces)
    else:
        sys.stdout.write("There are no adapters yet: `codellama-ls tune PATH` makes one of your own code.\n")


def _print(found: Mapping[str, Adapter], workspaces: Mapping[str, Sequence[Path]]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("adapter", no_wrap=True)
    table.add_column("base", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("made", no_wrap=True)
    table.add_column("held-out perplexity", justify="right", no_wrap=True)
    table.add_column("enabled for")
    for name, adapter in found.items():
        size = f"{adapter.bytes / 1e6:,.1f} MB"
        where = adapter.problem or "\n".join(str(path) for path in workspaces[name])
        table.add_row(name, escape(adapter.base or "?"), size, _when(adapter.created), _gain(adapter), escape(where))
    # Piped output has no width of its own: none is better than cut paths.
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)


def _when(created: str) -> str:
    """A day and a time in this place; as it stands where it is no time."""
    with suppress(ValueError):
        return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"
    return escape(created)


def _gain(adapter: Adapter) -> str:
    if adapter.before is None or adapter.after is None:
        return ""
    return f"{adapter.before:.2f} -> {adapter.after:.2f}"


def _enable(options: argparse.Namespace) -> None:
    workspace = _workspace(options)
    adapter_store.enable(options.name, workspace)
    sys.stdout.write(f"Completion in {workspace} uses the adapter {options.name} from now on.\n")


def _disable(options: argparse.Namespace) -> None:
    workspace = _workspace(options)
    if (name := adapter_store.disable(workspace)) is None:
        raise _RefusedError(f"No adapter was enabled for {workspace} itself.")
    around = adapter_store.enabled_for(workspace)
    rest = f", but {around}, which is enabled for a folder around it" if around else ""
    sys.stdout.write(f"Completion in {workspace} uses {name} no more{rest}.\n")


def _workspace(options: argparse.Namespace) -> Path:
    workspace = options.workspace.expanduser().resolve()
    if options.action == "enable" and not workspace.is_dir():
        raise _RefusedError(f"There is no folder {workspace}.")
    return workspace


def _add(options: argparse.Namespace) -> None:
    folder = options.folder.expanduser().resolve()
    lora = read_lora(folder)
    if config := _config_of(adapter_store.read(folder).base):
        check_fits(lora, config)
    adapter = adapter_store.add(folder, options.name or folder.name)
    sys.stdout.write(f"Added {adapter.name}: `codellama-ls adapters enable {adapter.name}` has a workspace use it.\n")


def _config_of(model_id: str) -> Mapping[str, Any] | None:
    """An installed model's; where it is not installed nothing can be compared yet, and the engine will."""
    with suppress(StoreError, LoadError):
        return read_config(store.installed(model_id))
    return None


def _remove(options: argparse.Namespace) -> None:
    name = options.name
    if name not in adapter_store.installed():
        raise _RefusedError(f"There is no adapter {name!r}.")
    if not options.yes:
        _confirm(name)
    adapter_store.remove(name)
    sys.stdout.write(f"Removed {name}.\n")


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise _RefusedError(f"Removing {name} deletes what was trained: add --yes to do it without being asked.")
    if input(f"Remove {name}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise _RefusedError(f"{name} was kept.")
