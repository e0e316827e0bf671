"""What is known of one adapter without reading its tensors, and which model it is for.

Torch-free. Knows neither where adapters are kept (``adapters``) nor whether one can be served (``lora_files``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inference.models import store
from inference.models.catalog import Model, canonical
from inference.models.store import StoreError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files that make a folder an adapter, as peft writes them."""

TUNING = "tuning.json"
"""What ``codellama-ls tune`` notes beside them; adapters from elsewhere have none."""

FORMAT = 1
"""Version of ``tuning.json``, and of the file that says which workspace uses which adapter."""


class AdapterError(StoreError):
    """An adapter can't be found, kept or used; the text is one sentence for the user."""


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


def read(folder: Path) -> Adapter:
    """What the files in any folder say of the adapter in it. Raises AdapterError where they are none."""
    config = read_json(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        raise AdapterError(f"The adapter in {folder} lacks {WEIGHTS}.")
    tuning = read_json(folder / TUNING) if (folder / TUNING).exists() else {}
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


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file. Raises AdapterError."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"{path.parent} holds no adapter: it lacks {path.name}.") from error
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path} holds no JSON object.")
    return content


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
