"""What a peft LoRA folder holds, read from its config and its tensors' headers; what can't be served is refused.

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
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inference.models.adapter_facts import CONFIG, WEIGHTS, AdapterError
from inference.models.checkpoint import Extent, llama_shapes

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
