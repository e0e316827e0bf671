"""``codellama-ls adapters``: list, enable, disable, add and remove the user's LoRA adapters."""

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

from inference.commands.command_line import OK, confirm, run_command
from inference.errors import CodeLlamaError
from inference.models import adapter_store, store
from inference.models.adapter_files import check_fits, read_lora
from inference.models.adapter_store import Adapter
from inference.models.checkpoint import LoadError, read_config
from inference.models.store import StoreError


def main(argv: Sequence[str]) -> int:
    """Run ``adapters [enable | disable | add | remove]`` and return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: options.run(options), OSError)


def as_json(adapter: Adapter, workspaces: Sequence[Path]) -> dict[str, Any]:
    """Return the JSON object of one adapter. Unknown values are null."""
    known = {name: value or None for name, value in asdict(adapter).items()}
    return known | {
        "folder": str(adapter.folder),
        "bytes": adapter.bytes,
        "enabled": [str(path) for path in workspaces],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls adapters", description="List your adapters, or choose the adapter of a workspace."
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array with one object per adapter")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(dest="action")
    enable = actions.add_parser("enable", help="use an adapter for completion in a workspace")
    enable.add_argument("name")
    disable = actions.add_parser("disable", help="use no adapter in a workspace")
    add = actions.add_parser("add", help="copy a LoRA adapter in peft's format to your adapters")
    add.add_argument("folder", type=Path)
    add.add_argument("--name", help="name of the adapter (default: the folder's name)")
    remove = actions.add_parser("remove", help="delete an adapter from the disk")
    remove.add_argument("name")
    remove.add_argument("--yes", action="store_true", help="don't ask for confirmation")
    for action in (enable, disable):
        action.add_argument(
            "--workspace", type=Path, default=Path(), metavar="PATH", help="the workspace (default: the current folder)"
        )
    for action, run in ((enable, _enable), (disable, _disable), (add, _add), (remove, _remove)):
        action.set_defaults(run=run)
    return parser


def _list(options: argparse.Namespace) -> int:
    installed, uses = adapter_store.installed(), adapter_store.enabled()
    workspaces = {name: [path for path, used in uses.items() if used == name] for name in installed}
    if options.json:
        entries = [as_json(adapter, workspaces[name]) for name, adapter in installed.items()]
        sys.stdout.write(json.dumps(entries, indent=2) + "\n")
    elif installed:
        _print_table(installed, workspaces)
    else:
        sys.stdout.write("No adapters are installed. Run `codellama-ls tune PATH` to train one on your code.\n")
    return OK


def _print_table(installed: Mapping[str, Adapter], workspaces: Mapping[str, Sequence[Path]]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("adapter", no_wrap=True)
    table.add_column("base", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("created", no_wrap=True)
    table.add_column("held-out perplexity", justify="right", no_wrap=True)
    table.add_column("enabled for")
    for name, adapter in installed.items():
        size = f"{adapter.bytes / 1e6:,.1f} MB"
        uses = adapter.problem or "\n".join(str(path) for path in workspaces[name])
        table.add_row(
            name, escape(adapter.base or "?"), size, _local_time(adapter.created), _perplexities(adapter), escape(uses)
        )
    # Don't cut paths in piped output, which has no width of its own.
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)


def _local_time(created: str) -> str:
    """Return the date and time in the local time zone; unchanged if it can't be parsed."""
    with suppress(ValueError):
        return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"
    return escape(created)


def _perplexities(adapter: Adapter) -> str:
    if adapter.before is None or adapter.after is None:
        return ""
    return f"{adapter.before:.2f} -> {adapter.after:.2f}"


def _enable(options: argparse.Namespace) -> int:
    workspace = _workspace(options)
    adapter_store.enable(options.name, workspace)
    sys.stdout.write(f"Completion in {workspace} now uses the adapter {options.name}.\n")
    return OK


def _disable(options: argparse.Namespace) -> int:
    workspace = _workspace(options)
    if (name := adapter_store.disable(workspace)) is None:
        raise CodeLlamaError(f"No adapter is enabled for {workspace} itself.")
    parent = adapter_store.enabled_for(workspace)
    rest = f" It now uses {parent}, which is enabled for a parent folder." if parent else ""
    sys.stdout.write(f"Completion in {workspace} no longer uses {name}.{rest}\n")
    return OK


def _workspace(options: argparse.Namespace) -> Path:
    workspace = options.workspace.expanduser().resolve()
    if options.action == "enable" and not workspace.is_dir():
        raise CodeLlamaError(f"There is no folder {workspace}.")
    return workspace


def _add(options: argparse.Namespace) -> int:
    folder = options.folder.expanduser().resolve()
    lora = read_lora(folder)
    if config := _config_of(adapter_store.read(folder).base):
        check_fits(lora, config)
    adapter = adapter_store.add(folder, options.name or folder.name)
    sys.stdout.write(
        f"Added {adapter.name}. Run `codellama-ls adapters enable {adapter.name}` in a workspace to use it there.\n"
    )
    return OK


def _config_of(model_id: str) -> Mapping[str, Any] | None:
    """Return an installed model's configuration. None if it is not installed: then the engine checks the adapter."""
    with suppress(StoreError, LoadError):
        return read_config(store.installed(model_id))
    return None


def _remove(options: argparse.Namespace) -> int:
    name = options.name
    if name not in adapter_store.installed():
        raise CodeLlamaError(f"There is no adapter {name!r}.")
    if not options.yes:
        confirm(f"Remove {name}?", f"Removing {name} deletes a trained adapter.", f"{name} was kept.")
    adapter_store.remove(name)
    sys.stdout.write(f"Removed {name}.\n")
    return OK
