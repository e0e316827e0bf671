"""What is known of one adapter without reading its tensors, and which model it is for.

Torch-free. Knows neither where adapters are kept (``adapters``) nor whether one can be served (``lora_files``).

What a peft LoRA folder holds, read from its config and its tensors' headers; what can't be served is refused.

Torch-free; reads no tensor and knows no loaded model. Served is the plain form alone: a matrix's output plus
``scale * B A x`` (Hu et al. 2021, arXiv 2106.09685, section 4.1).

Source: peft 0.21, ``LoraConfig`` and ``save_pretrained``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inference.models import store
from inference.models.catalog import Model, canonical
from inference.models.checkpoint import Extent, llama_shapes
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


TENSOR = re.compile(r"base_model\.model\.(model\.layers\.\d+\.(?:self_attn|mlp)\.[a-z]+_proj)\.lora_([AB])\.weight")

UNTOUCHED = {
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config", "init_lora_weights"),
    *("inference_mode", "auto_mapping"),
}
"""Entries that change nothing once it is known which tensors there are, and that the base was left as it is."""

INNOCENT_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Ways to initialise (``init_lora_weights``) that leave the base's weights alone; all others change them."""


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """A LoRA adapter in its folder.

    Attributes:
        folder: where it lies.
        rank: of every pair.
        scale: what ``B A x`` is multiplied with.
        shapes: of A and B, by the name of the matrix in checkpoints: ``model.layers.0.self_attn.q_proj``.
    """

    folder: Path
    rank: int
    scale: float
    shapes: dict[str, tuple[Extent, Extent]]


def tensor_name(matrix: str, part: str) -> str:
    """What peft calls A or B of a matrix in the file."""
    return f"base_model.model.{matrix}.lora_{part}.weight"


def read_lora(folder: Path) -> LoraFiles:
    """Read and check everything that can be checked without a base. Raises AdapterError."""
    config = _config(folder)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise AdapterError(f"The {CONFIG} in {folder} has no usable r and lora_alpha.")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraFiles(folder, rank, scale, _pairs(folder, rank))


def check_fits(lora: LoraFiles, config: Mapping[str, Any]) -> None:
    """Raises AdapterError where a Llama of this ``config.json`` does not have the matrices that are adapted."""
    base = llama_shapes(dict(config))
    for matrix, (a, b) in lora.shapes.items():
        shape = base.get(f"{matrix}.weight")
        if shape is None:
            layers = config["num_hidden_layers"]
            raise AdapterError(f"The adapter in {lora.folder} adapts {matrix}; the model of {layers} layers has none.")
        if (b[0], a[1]) != shape:
            raise AdapterError(
                f"The adapter in {lora.folder} adapts a {matrix} of {b[0]} x {a[1]}, but the model's has {shape[0]} x "
                f"{shape[1]}: it was trained on another model."
            )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder / CONFIG} can't be read ({error}).") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterError(f"The adapter in {folder} is not of peft's type LORA, the only one that can be served.")
    start = config.get("init_lora_weights")
    if start not in INNOCENT_STARTS:
        raise AdapterError(f"The adapter in {folder} changed its base when it began (init_lora_weights {start!r}).")
    for name, value in config.items():
        if _changes_the_sum(name, value):
            raise AdapterError(
                f"The adapter in {folder} uses {name}, and can't be served unmerged: train it as plain LoRA."
            )
    return config


def _changes_the_sum(name: str, value: Any) -> bool:
    """Whether an entry asks for more than plain LoRA. Of entries not known here those count that switch on or list.

    Numbers and strings are but parameters of what another entry switches on.
    """
    if name == "bias":
        return value not in (None, "none")
    return name not in UNTOUCHED and name != "use_rslora" and (value is True or bool(value and _is_container(value)))


def _is_container(value: Any) -> bool:
    return isinstance(value, list | dict)


def _pairs(folder: Path, rank: int) -> dict[str, tuple[Extent, Extent]]:
    found: dict[str, dict[str, Extent]] = {}
    for name, shape in _header(folder).items():
        match = TENSOR.fullmatch(name)
        if match is None:
            raise AdapterError(f"The adapter in {folder} holds {name}, which is no part of plain LoRA on a Llama.")
        found.setdefault(match[1], {})[match[2]] = shape
    if not found:
        raise AdapterError(f"The adapter in {folder} adapts nothing.")
    for matrix, parts in found.items():
        if parts.keys() != {"A", "B"}:
            raise AdapterError(f"The adapter in {folder} lacks one half of the pair for {matrix}.")
        if any(len(shape) != 2 for shape in parts.values()) or not parts["A"][0] == rank == parts["B"][1]:
            raise AdapterError(f"In {folder} the pair for {matrix} is not of rank {rank}, as its {CONFIG} says.")
    return {matrix: (parts["A"], parts["B"]) for matrix, parts in found.items()}


def _header(folder: Path) -> dict[str, Extent]:
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path} is missing, damaged or cut short ({error}).") from error
