"""Load a checkpoint folder into a model with 32, 16, 8 or 4 bits per weight. Never uses the network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import psutil
import torch
from safetensors import SafetensorError

from inference.models import quantised
from inference.models.allocators import release
from inference.models.checkpoint import Checkpoint, LoadError, NativeFormat, WeightFormat, inspect
from inference.models.language_model import LanguageModel
from inference.models.llama import Llama
from inference.models.quiet_libraries import quiet_transformers, reported, silence
from inference.system.machine import usable_cores
from inference.system.terminal import OnProgress

FormatOrAuto = Literal["auto"] | WeightFormat


@overload
def load(
    folder: Path,
    weight_format: FormatOrAuto = "auto",
    device: str | torch.device | None = None,
    on_progress: OnProgress | None = None,
    *,
    double_quant: bool = False,
) -> Llama: ...
@overload
def load(
    folder: Path,
    weight_format: NativeFormat,
    device: str | torch.device | None = None,
    on_progress: OnProgress | None = None,
    *,
    double_quant: bool = False,
) -> LanguageModel: ...
def load(
    folder: Path,
    weight_format: FormatOrAuto | NativeFormat = "auto",
    device: str | torch.device | None = None,
    on_progress: OnProgress | None = None,
    *,
    double_quant: bool = False,
) -> LanguageModel:
    """Load a checkpoint for inference. Problems are reported before the weights are read.

    An installed checkpoint is quantised once and the result is kept. A checkpoint that is quantised already is loaded
    as it is.

    Args:
        folder: the checkpoint.
        weight_format: ``auto`` means NF4 on a GPU and float32 on a CPU; int8 and int4 select ``inference.native``.
        device: None selects a GPU if there is one, else the CPU.
        on_progress: called with the number of tensors loaded and their total.
        double_quant: also quantise NF4's scales (QLoRA, section 3): 0.4 bits less per weight, slightly slower.

    Raises:
        LoadError: the checkpoint is incomplete, unsupported or too large for the memory.
    """
    if weight_format in ("int8", "int4"):
        return _load_native(folder, weight_format, on_progress)
    model = Llama(read_transformers(folder, weight_format, device, on_progress, double_quant=double_quant))
    release()
    return model


def read_transformers(
    folder: Path,
    weight_format: FormatOrAuto = "auto",
    device: str | torch.device | None = None,
    on_progress: OnProgress | None = None,
    *,
    double_quant: bool = False,
) -> Any:
    """Load the transformers model that ``load`` wraps, with frozen weights: for training, adapters and batches.

    The arguments are those of ``load``. Raises LoadError.
    """
    silence()
    checkpoint = inspect(folder)
    where = choose_device(device)
    chosen = _stored_format(checkpoint, weight_format) or choose_format(weight_format, where)
    double_quant = checkpoint.double_quant if checkpoint.quantised else double_quant
    dtype = choose_dtype(chosen, where)
    _check_memory(checkpoint.weight_bytes(chosen, dtype.itemsize, double_quant=double_quant), where, folder)
    if where.type == "cpu":
        _use_cores()
    plan = _Plan(dtype, where, on_progress, double_quant)
    quantise = chosen == "nf4" and not checkpoint.quantised
    return _quantised_once(checkpoint, plan) if quantise else _read(checkpoint, plan)


def resolve_checkpoint(
    folder: Path,
    weight_format: FormatOrAuto = "auto",
    device: str | torch.device | None = None,
    *,
    double_quant: bool = False,
) -> tuple[Checkpoint, WeightFormat]:
    """Return the checkpoint that ``load`` would read, and its format in memory.

    It is the one in ``folder``, or the NF4 copy that an earlier start kept. Raises LoadError.
    """
    checkpoint = inspect(folder)
    where = choose_device(device)
    chosen = _stored_format(checkpoint, weight_format) or choose_format(weight_format, where)
    if chosen == "nf4" and not checkpoint.quantised:
        copy = _kept(checkpoint, choose_dtype(chosen, where), double_quant)
        if copy and quantised.ready(copy):
            checkpoint = inspect(copy)
    return checkpoint, chosen


def _load_native(folder: Path, form: NativeFormat, on_progress: OnProgress | None) -> LanguageModel:
    from inference.native.native_llama import read  # lazily: ``inference.native`` imports this package

    checkpoint = inspect(folder)
    _check_memory(checkpoint.weight_bytes(form, 4), torch.device("cpu"), folder)
    _use_cores()
    return read(checkpoint, form, on_progress)


def _use_cores() -> None:
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())


@dataclass(frozen=True, slots=True)
class _Plan:
    """Arguments of reading one checkpoint; ``double_quant`` applies if it is quantised while loading."""

    dtype: torch.dtype
    device: torch.device
    on_progress: OnProgress | None
    double_quant: bool


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device; None selects a GPU if there is one. Raises LoadError for CUDA without a GPU."""
    present = torch.cuda.is_available()
    if device is None:
        return torch.device("cuda" if present else "cpu")
    where = torch.device(device)
    if where.type == "cuda" and not present:
        raise LoadError("torch finds no CUDA device. Use the device 'cpu', or check the driver.")
    return where


def choose_format(weight_format: FormatOrAuto, device: torch.device) -> WeightFormat:
    """Resolve ``auto``: NF4 on a GPU, float32 on a CPU, where it is the fastest for a model as small as the starter.

    Milliseconds per decoded token of the starter, measured on two AVX-512 cores: float32 71, bfloat16 88, NF4 190.
    """
    if weight_format == "auto":
        return "nf4" if device.type == "cuda" else "fp32"
    return weight_format


def _stored_format(checkpoint: Checkpoint, wanted: FormatOrAuto) -> WeightFormat | None:
    """Return the format of a checkpoint that is quantised already, else None. Raises LoadError."""
    if not checkpoint.quantised:
        return None
    if wanted not in ("auto", "nf4"):
        raise LoadError(f"The checkpoint in {checkpoint.folder} is in 4 bits already. Load it as nf4, not as {wanted}.")
    return "nf4"


def why_no_four_bits(device: str) -> str:
    """Return the reason why ``device`` can't compute with 4-bit weights, or "". Tries a small product."""
    silence()
    from bitsandbytes.nn.modules import Linear4bit

    dtype = choose_dtype("nf4", torch.device(device))
    try:
        layer = Linear4bit(64, 64, bias=False, compute_dtype=dtype, quant_type="nf4").to(device)
        layer(torch.ones(1, 64, dtype=dtype, device=device)).sum().item()
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return ""


def choose_dtype(weight_format: WeightFormat, device: torch.device) -> torch.dtype:
    """Return the type of activations and of the weights that NF4 leaves unquantised.

    With NF4, CPUs with AVX512_BF16 are faster in bfloat16 than in float32. GPUs older than Ampere lack bfloat16.
    """
    if weight_format == "fp32":
        return torch.float32
    if weight_format == "nf4" and device.type == "cpu":
        from bitsandbytes.functional import has_avx512bf16

        return torch.bfloat16 if has_avx512bf16() else torch.float32
    if weight_format == "nf4" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def _check_memory(needed: int, device: torch.device, folder: Path) -> None:
    if device.type == "cuda":
        available, kind = torch.cuda.mem_get_info(device)[0], "GPU memory"
    else:
        available, kind = psutil.virtual_memory().available, "memory"
    if needed > available:
        raise LoadError(
            f"The weights in {folder} need {needed / 2**30:.1f} GiB of {kind}, but {available / 2**30:.1f} GiB are "
            "free. Close other programs, or choose a smaller model or fewer bits."
        )


def _quantised_once(checkpoint: Checkpoint, plan: _Plan) -> Any:
    """Read the NF4 copy that an earlier start kept, else quantise now and keep a copy for the next start."""
    where = _kept(checkpoint, plan.dtype, plan.double_quant)
    if where and quantised.ready(where):
        try:
            return _read(inspect(where), plan)
        except LoadError as error:
            quantised.drop(where, str(error))
    settings = quiet_transformers().BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=plan.dtype,
        bnb_4bit_use_double_quant=plan.double_quant,
    )
    model = _read(checkpoint, plan, quantization_config=settings)
    if where:
        size = checkpoint.weight_bytes("nf4", plan.dtype.itemsize, double_quant=plan.double_quant)
        quantised.keep(lambda folder: model.save_pretrained(folder, max_shard_size="5GB"), where, size)
    return model


def _kept(checkpoint: Checkpoint, dtype: torch.dtype, double_quant: bool) -> Path | None:
    """Return the folder for the NF4 copy of an installed checkpoint, or None."""
    kind = "-".join(["nf4", *(["double"] if double_quant else []), str(dtype).removeprefix("torch.")])
    return quantised.copy_folder(checkpoint.folder, kind)


def _read(checkpoint: Checkpoint, plan: _Plan, **options: Any) -> Any:
    """Load the transformers model onto its device, ready for inference. Raises LoadError."""
    transformers = quiet_transformers()
    try:
        with reported(plan.on_progress):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                dtype=plan.dtype,
                device_map={"": plan.device},
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="sdpa",
                **options,
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LoadError(f"The checkpoint in {checkpoint.folder} can't be loaded ({reason}).") from error
    _compute_in(model, plan.dtype)
    return model.eval().requires_grad_(False)


def _compute_in(model: Any, dtype: torch.dtype) -> None:
    """Make every module compute in ``dtype``.

    transformers ignores the requested type for a quantised checkpoint, and keeps the one it was quantised with.
    """
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = module.weight.quant_state.dtype = dtype
    for weight in model.parameters():
        if not hasattr(weight, "quant_state"):
            weight.data = weight.data.to(dtype)
