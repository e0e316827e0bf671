"""A user's own adapters: where they lie, adding and removing them, and which workspace uses which.

Torch-free: a language server asks it at every request. Knows neither what is in an adapter (``adapter_facts``,
``lora_files``) nor how one is trained or served.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from inference.models.adapter_files import (
    CONFIG,
    FORMAT,
    TUNING,
    WEIGHTS,
    Adapter,
    AdapterError,
    check_usable,
    is_base,
    read,
    read_json,
)
from inference.models.catalog import CATALOG
from inference.models.manifest import sync
from inference.models.store import LONGEST_NAME
from inference.system.files import make_private

__all__ = ["Adapter", "AdapterError", "check_usable", "is_base", "read"]

FOLDER_VARIABLE = "CODELLAMA_LS_ADAPTERS"
"""Environment variable that names another folder for adapters."""

ENABLED = ".enabled.json"  # a name that no adapter can have

AUTO = "auto"
"""The setting's word for "as enabled for the workspace", and so no adapter's name."""

Stamp = tuple[tuple[int, int, int], ...]
"""Of each file: inode, size, and when it was last written. Another stamp is another adapter."""


class AdapterMissingError(AdapterError):
    """There is no adapter of this name."""


class AdapterNameError(AdapterMissingError):
    """No adapter can have this name."""


def adapters_folder() -> Path:
    """The folder of all adapters: ``$CODELLAMA_LS_ADAPTERS``, else ``adapters`` in the user's data folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("codellama-ls", False) / "adapters"


def location(name: str) -> Path:
    """Where an adapter of this name lies, if there is one. Raises AdapterNameError for a name that none can have."""
    if len(name) > LONGEST_NAME:
        raise AdapterNameError(f"An adapter's name has at most {LONGEST_NAME} characters, not {len(name)}.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise AdapterNameError(f"{name!r} can't name an adapter: use letters, digits, '.', '_' and '-'.")
    if name == AUTO or name.lower() in CATALOG:
        raise AdapterNameError(f"{name!r} can't name an adapter, as it has a meaning already: choose another name.")
    return adapters_folder() / name


def installed() -> dict[str, Adapter]:
    """Every adapter by name, sorted; broken ones are among them, so that they can be seen and removed."""
    root = adapters_folder()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: _listed(path) for path in folders if path.is_dir() and not path.name.startswith(".")}


def find(name: str) -> Adapter:
    """An installed adapter. Raises AdapterMissingError, AdapterError for a broken one."""
    folder = location(name)
    if not folder.is_dir():
        raise AdapterMissingError(f"There is no adapter {name!r}: `codellama-ls adapters` lists those there are.")
    return read(folder)


def stamp(folder: Path) -> Stamp:
    """Of the adapter in ``folder`` as it is now: training it anew gives it another. Raises AdapterMissingError."""
    try:
        found = [(folder / name).stat() for name in (CONFIG, WEIGHTS)]
    except OSError as error:
        raise AdapterMissingError(f"The adapter in {folder} is gone or can't be read ({error.strerror}).") from error
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def add(folder: Path, name: str, *, replace: bool = False) -> Adapter:
    """Copy the adapter in ``folder`` to those of the user, whole or not at all; its tensors are not looked at.

    With ``replace`` it takes the place of one of that name, also in the workspaces that use it. Raises AdapterError
    where there is one otherwise, or none in ``folder``.
    """
    read(folder)
    target = location(name)
    with _locked():
        partial, replaced = (target.with_name(f".{name}.{kind}") for kind in ("partial", "replaced"))
        if replaced.exists() and not target.exists():
            replaced.rename(target)  # killed between the two renames below
        if target.exists() and not replace:
            raise AdapterError(f"There is an adapter {name!r} already: remove it first, or choose another --name.")
        for left in (partial, replaced):
            shutil.rmtree(left, ignore_errors=True)
        _copy(folder, partial)
        if target.exists():
            target.rename(replaced)
        partial.rename(target)
        sync(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    return find(name)


def remove(name: str) -> None:
    """Delete an adapter, broken or not, and have no workspace use it. Raises AdapterMissingError."""
    target = location(name)
    with _locked():
        if not target.is_dir():
            raise AdapterMissingError(f"There is no adapter {name!r}.")
        _write({workspace: used for workspace, used in enabled().items() if used != name})
        doomed = target.with_name(f".{name}.partial")
        shutil.rmtree(doomed, ignore_errors=True)
        target.rename(doomed)
        shutil.rmtree(doomed)


def enable(name: str, workspace: Path) -> None:
    """Have ``workspace`` and all below it use an adapter. Raises AdapterError where it is missing or broken."""
    find(name)
    with _locked():
        _write(enabled() | {_resolved(workspace): name})


def disable(workspace: Path) -> str | None:
    """Have ``workspace`` use none of its own; returns which it used. A folder around it may still have one."""
    with _locked():
        uses = enabled()
        name = uses.pop(_resolved(workspace), None)
        if name is not None:
            _write(uses)
    return name


def enabled() -> dict[Path, str]:
    """Which adapter each workspace uses. Raises AdapterError where the file that says it can't be read."""
    path = adapters_folder() / ENABLED
    if not path.exists():
        return {}
    content = read_json(path)
    workspaces = content.get("workspaces")
    if content.get("format") != FORMAT or not isinstance(workspaces, dict):
        raise AdapterError(f"{path} is not of this version of the program: delete it, and enable your adapters anew.")
    return {Path(workspace): str(name) for workspace, name in workspaces.items()}


def enabled_for(workspace: Path) -> str | None:
    """The adapter of the nearest folder around ``workspace``, itself included. Raises AdapterError as ``enabled``."""
    uses = enabled()
    if not uses:
        return None
    folder = _resolved(workspace)
    return next((uses[around] for around in (folder, *folder.parents) if around in uses), None)


def _copy(folder: Path, to: Path) -> None:
    """What makes an adapter, its card included, and nothing that training left beside it."""
    to.mkdir(mode=0o700)
    for path in (folder / file for file in (CONFIG, WEIGHTS, TUNING, "README.md")):
        if path.is_file():
            shutil.copyfile(path, to / path.name)
            sync(to / path.name)


def _listed(folder: Path) -> Adapter:
    try:
        return read(folder)
    except AdapterError as error:
        return Adapter(folder.name, folder, problem=str(error))


def _resolved(workspace: Path) -> Path:
    return workspace.expanduser().resolve()


@contextmanager
def _locked() -> Iterator[None]:
    root = adapters_folder()
    make_private(root)
    with FileLock(root / ".lock", mode=0o600):
        yield


def _write(uses: dict[Path, str]) -> None:
    """All at once, and for this user's eyes: it names folders."""
    content = {"format": FORMAT, "workspaces": {str(workspace): uses[workspace] for workspace in sorted(uses)}}
    target = adapters_folder() / ENABLED
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=ENABLED, delete=False, encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(target)
