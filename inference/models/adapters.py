"""A user's own adapters: where they lie, what is known of each, and which workspace uses which.

Torch-free: a language server asks it at every request. Knows neither what is in an adapter's tensors (``lora_files``)
nor how one is trained or served.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from inference.models import store
from inference.models.catalog import CATALOG, Model, canonical
from inference.models.store import StoreError

FOLDER_VARIABLE = "CODELLAMA_LS_ADAPTERS"
"""Environment variable that names another folder for adapters."""

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files that make a folder an adapter, as peft writes them."""

TUNING = "tuning.json"
"""What ``codellama-ls tune`` notes beside them; adapters from elsewhere have none."""

FORMAT = 1
"""Version of ``tuning.json`` and of the file that says which workspace uses which."""

ENABLED = ".enabled.json"  # a name that no adapter can have

AUTO = "auto"
"""The setting's word for "as enabled for the workspace", and so no adapter's name."""


class AdapterError(StoreError):
    """An adapter can't be found, kept or used; the text is one sentence for the user."""


class AdapterMissingError(AdapterError):
    """There is no adapter of this name."""


class AdapterNameError(AdapterMissingError):
    """No adapter can have this name."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is known of one adapter without reading its tensors.

    Attributes:
        name: of its folder, and what a request's ``model`` calls it.
        folder: where it lies.
        base: id of the model it was trained on, or a name unknown here; empty where nobody says.
        base_source: where that model came from, as its manifest had it then; empty where nobody says.
        created: when, in ISO 8601.
        files: how many files it was trained on; 0 where nobody says, as for ``tokens``.
        tokens: how many tokens.
        before: perplexity of held-out middles without it, or None.
        after: the same with it.
        problem: why it can't be used, in one sentence; empty for a whole one.
    """

    name: str
    folder: Path
    base: str = ""
    base_source: str = ""
    created: str = ""
    files: int = 0
    tokens: int = 0
    before: float | None = None
    after: float | None = None
    problem: str = ""

    @property
    def bytes(self) -> int:
        """What its folder takes on the disk."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())


def adapters_folder() -> Path:
    """The folder of all adapters: ``$CODELLAMA_LS_ADAPTERS``, else ``adapters`` in the user's data folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("codellama-ls", False) / "adapters"


def location(name: str) -> Path:
    """Where an adapter of this name lies, if there is one. Raises AdapterNameError for a name that none can have."""
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


def read(folder: Path) -> Adapter:
    """What the files in any folder say of the adapter in it. Raises AdapterError where they are none."""
    config = _json(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        raise AdapterError(f"The adapter in {folder} lacks {WEIGHTS}.")
    tuning = _json(folder / TUNING) if (folder / TUNING).exists() else {}
    if tuning and tuning.get("format") != FORMAT:
        raise AdapterError(f"The adapter in {folder} has a {TUNING} of another version of this program: tune anew.")
    written = datetime.fromtimestamp((folder / WEIGHTS).stat().st_mtime, UTC)
    return Adapter(
        name=folder.name,
        folder=folder,
        base=canonical(str(tuning.get("base") or "")) or _base(config.get("base_model_name_or_path")),
        base_source=str(tuning.get("base_source") or ""),
        created=str(tuning.get("created") or written.isoformat(timespec="seconds")),
        files=_number(tuning.get("files")) or 0,
        tokens=_number(tuning.get("tokens")) or 0,
        before=_number(tuning.get("before")),
        after=_number(tuning.get("after")),
    )


def is_base(adapter: Adapter, row: Model) -> bool:
    """Whether ``adapter`` is said to have been trained on a model."""
    return adapter.base.lower() in (row.id.lower(), row.hub.lower())


def check_usable(adapter: Adapter, row: Model) -> None:
    """Raises AdapterError where ``adapter`` is broken or was trained on another model than the installed ``row``.

    One of which nobody says what it was trained on passes; what does not fit is found when its tensors are read.
    """
    if adapter.problem:
        raise AdapterError(adapter.problem)
    if adapter.base and not is_base(adapter, row):
        raise AdapterError(
            f"The adapter {adapter.name!r} was trained on {adapter.base}, not on {row.id}: use it with that model."
        )
    source = _source(row.id)
    if adapter.base_source and source and adapter.base_source != source:
        raise AdapterError(
            f"The adapter {adapter.name!r} was trained on another version of {row.id} ({adapter.base_source}, where "
            f"{source} is installed): tune anew."
        )


def add(folder: Path, name: str) -> Adapter:
    """Copy the adapter in ``folder`` to those of the user, whole or not at all; its tensors are not looked at.

    Raises AdapterError where there is one of that name, or none in ``folder``.
    """
    read(folder)
    target = location(name)
    with _locked():
        if target.exists():
            raise AdapterError(f"There is an adapter {name!r} already: remove it first, or choose another --name.")
        partial = target.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        for path in (folder / file for file in (CONFIG, WEIGHTS, TUNING, "README.md")):
            if path.is_file():
                shutil.copyfile(path, partial / path.name)
                store.sync(partial / path.name)
        partial.rename(target)
        store.sync(target.parent)
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
    content = _json(path)
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


def _listed(folder: Path) -> Adapter:
    try:
        return read(folder)
    except AdapterError as error:
        return Adapter(folder.name, folder, problem=str(error))


def _base(named: Any) -> str:
    """The model that ``base_model_name_or_path`` means: by name, or as a folder of the installed ones."""
    if not isinstance(named, str):
        return ""
    if re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", named):
        return canonical(named)
    inside = Path(named).parent.resolve() == store.models_folder().resolve()
    return Path(named).name if inside else ""


def _source(model_id: str) -> str:
    try:
        return store.source(model_id)
    except StoreError:
        return ""


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"{path.parent} holds no adapter: it lacks {path.name}.") from error
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path} holds no JSON object.")
    return content


def _resolved(workspace: Path) -> Path:
    return workspace.expanduser().resolve()


@contextmanager
def _locked() -> Iterator[None]:
    root = adapters_folder()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
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
