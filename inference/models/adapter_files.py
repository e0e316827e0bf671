"""Inspect a peft LoRA folder by its config and tensor headers, without reading tensors. Torch-free.

Only plain LoRA can be served: a matrix's output plus ``scale * B A x`` (Hu et al. 2021, arXiv 2106.09685, section 4.1).

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
"""The two files of an adapter, by peft's names."""

TUNING = "tuning.json"
"""Facts that ``codellama-ls tune`` writes beside them; other adapters have none."""

FORMAT = 1
"""Version of ``tuning.json``, and of the file of adapters enabled per workspace."""

TENSOR = re.compile(r"base_model\.model\.(model\.layers\.\d+\.(?:self_attn|mlp)\.[a-z]+_proj)\.lora_([AB])\.weight")

IGNORED_ENTRIES = {
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config", "init_lora_weights"),
    *("inference_mode", "auto_mapping"),
}
"""Config entries without effect on inference, given the tensors and an unchanged base model."""

HARMLESS_INITS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the base's weights unchanged; all others modify them."""


class AdapterError(StoreError):
    """An adapter can't be found, stored or used."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Facts about one adapter. Unknown ones are empty, 0 or None.

    Attributes:
        name: the name of its folder, and its name in a request's ``model``.
        folder: its path.
        base: the id of the model it was trained on, or a name outside the catalogue.
        base_source: the source of that model in its manifest at that time.
        created: time of creation in ISO 8601.
        files: files in its training data.
        tokens: tokens in its training data.
        before: perplexity of held-out middles without it.
        after: the same with it.
        problem: the reason why it can't be used, in one sentence; empty if it can.
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
        """Size of its folder on the disk."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())


def read(folder: Path) -> Adapter:
    """Read the facts about the adapter in ``folder``. Raises AdapterError if there is none."""
    config = read_json(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        raise AdapterError(f"The adapter in {folder} lacks {WEIGHTS}.")
    tuning = read_json(folder / TUNING) if (folder / TUNING).exists() else {}
    if tuning and tuning.get("format") != FORMAT:
        raise AdapterError(f"The adapter in {folder} has a {TUNING} of another version of this program. Tune it again.")
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
    """Return whether ``adapter`` names a model as its base."""
    return adapter.base.lower() in (row.id.lower(), row.hub.lower())


def check_usable(adapter: Adapter, row: Model) -> None:
    """Check that ``adapter`` is intact and was trained on the installed model ``row``. Raises AdapterError.

    An adapter with an unknown base passes; a mismatch is then found when its tensors are read.
    """
    if adapter.problem:
        raise AdapterError(adapter.problem)
    if adapter.base and not is_base(adapter, row):
        raise AdapterError(
            f"The adapter {adapter.name!r} was trained on {adapter.base}, not on {row.id}. Use it with that model."
        )
    source = _source(row.id)
    if adapter.base_source and source and adapter.base_source != source:
        raise AdapterError(
            f"The adapter {adapter.name!r} was trained on another version of {row.id} ({adapter.base_source}, where "
            f"{source} is installed). Tune it again."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises AdapterError."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"{path.parent} holds no adapter: {path.name} is missing.") from error
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path} holds no JSON object.")
    return content


def _base(value: Any) -> str:
    """Return the model of a ``base_model_name_or_path``: a name, or the folder of an installed model."""
    if not isinstance(value, str):
        return ""
    if re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", value):
        return canonical(value)
    is_installed = Path(value).parent.resolve() == store.models_folder().resolve()
    return Path(value).name if is_installed else ""


def _source(model_id: str) -> str:
    try:
        return store.source(model_id)
    except StoreError:
        return ""


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """A LoRA adapter in its folder.

    Attributes:
        folder: its path.
        rank: the rank of every pair.
        scale: the factor of ``B A x``.
        shapes: the shapes of A ``[rank, in]`` and B ``[out, rank]``, by matrix: ``model.layers.0.mlp.up_proj``.
    """

    folder: Path
    rank: int
    scale: float
    shapes: dict[str, tuple[Extent, Extent]]


def tensor_name(matrix: str, part: str) -> str:
    """Return peft's name for A or B of a matrix."""
    return f"base_model.model.{matrix}.lora_{part}.weight"


def read_lora(folder: Path) -> LoraFiles:
    """Read an adapter's config and headers and check that it can be served unmerged. Raises AdapterError."""
    config = _config(folder)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise AdapterError(f"The {CONFIG} in {folder} has no usable r and lora_alpha.")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraFiles(folder, rank, scale, _pairs(folder, rank))


def check_fits(lora: LoraFiles, config: Mapping[str, Any]) -> None:
    """Check that a Llama with this ``config.json`` has the adapted matrices. Raises AdapterError."""
    base = llama_shapes(dict(config))
    for matrix, (a, b) in lora.shapes.items():
        shape = base.get(f"{matrix}.weight")
        if shape is None:
            layers = config["num_hidden_layers"]
            raise AdapterError(f"The adapter in {lora.folder} adapts {matrix}, but the model has {layers} layers.")
        if (b[0], a[1]) != shape:
            raise AdapterError(
                f"The adapter in {lora.folder} was trained on another model: "
                f"its {matrix} is {b[0]} x {a[1]}, but the model's is {shape[0]} x {shape[1]}."
            )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder / CONFIG} can't be read ({error}).") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterError(f"The adapter in {folder} has no peft_type LORA, the only type that can be served.")
    init = config.get("init_lora_weights")
    if init not in HARMLESS_INITS:
        raise AdapterError(f"The adapter in {folder} modified its base model (init_lora_weights {init!r}).")
    for name, value in config.items():
        if _is_beyond_lora(name, value):
            raise AdapterError(
                f"The adapter in {folder} uses {name} and can't be served unmerged. Train it as plain LoRA."
            )
    return config


def _is_beyond_lora(name: str, value: Any) -> bool:
    """Return whether a config entry requests more than plain LoRA.

    Unknown entries count if they are true, a list or an object. Numbers and strings only parametrise other entries.
    """
    if name == "bias":
        return value not in (None, "none")
    if name in IGNORED_ENTRIES or name == "use_rslora":
        return False
    return value is True or bool(value and isinstance(value, list | dict))


def _pairs(folder: Path, rank: int) -> dict[str, tuple[Extent, Extent]]:
    """Return the shapes of A and B by matrix. Raises AdapterError."""
    found: dict[str, dict[str, Extent]] = {}
    for name, shape in _header(folder).items():
        match = TENSOR.fullmatch(name)
        if match is None:
            raise AdapterError(f"The adapter in {folder} holds {name}, which is not part of plain LoRA on a Llama.")
        found.setdefault(match[1], {})[match[2]] = shape
    if not found:
        raise AdapterError(f"The adapter in {folder} adapts nothing.")
    for matrix, parts in found.items():
        if parts.keys() != {"A", "B"}:
            raise AdapterError(f"The adapter in {folder} lacks A or B of {matrix}.")
        if any(len(shape) != 2 for shape in parts.values()) or not parts["A"][0] == rank == parts["B"][1]:
            raise AdapterError(f"In {folder} A and B of {matrix} don't have the rank {rank} of {CONFIG}.")
    return {matrix: (parts["A"], parts["B"]) for matrix, parts in found.items()}


def _header(folder: Path) -> dict[str, Extent]:
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path} is missing, damaged or cut short ({error}).") from error
