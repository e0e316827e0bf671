"""A checkpoint folder -> a Llama in memory, in 32, 16 or 4 bits.

The only file that names a quantiser. Knows nothing of where folders come from, of tokens or of requests. Loading never
touches a network.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import psutil
import torch
from safetensors import SafetensorError

from inference.models.checkpoint import Checkpoint, LoadError, WeightFormat, inspect
from inference.models.cores import usable_cores
from inference.models.llama import Llama
from inference.models.progress import OnProgress

__all__ = ["Format", "LoadError", "choose_device", "choose_format", "load"]

Format = Literal["auto"] | WeightFormat


def load(
    folder: Path,
    weight_format: Format = "auto",
    device: str | torch.device | None = None,
    on_progress: OnProgress | None = None,
    *,
    double_quant: bool = False,
) -> Llama:
    """Load a checkpoint for inference; what can't work is found before the weights are read.

    ``device`` is None for a GPU if there is one, else the CPU. ``on_progress`` counts tensors. ``double_quant`` also
    quantises NF4's scales: 0.4 bits a weight less, a little slower. Raises LoadError.
    """
    checkpoint = inspect(folder)
    where = choose_device(device)
    chosen = choose_format(weight_format, where)
    dtype = _activation_dtype(chosen, where)
    _check_memory(checkpoint.weight_bytes(chosen, dtype.itemsize, double_quant=double_quant), where, folder)
    if where.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    return Llama(_read(checkpoint, chosen, dtype, where, on_progress, double_quant))


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device meant, or the best there is for None. Raises LoadError for CUDA where there is none."""
    present = torch.cuda.is_available()
    if device is None:
        return torch.device("cuda" if present else "cpu")
    where = torch.device(device)
    if where.type == "cuda" and not present:
        raise LoadError("A CUDA device was asked for, but torch finds none: use the device 'cpu', or check the driver.")
    return where


def choose_format(weight_format: Format, device: torch.device) -> WeightFormat:
    """What ``auto`` means: NF4 on a GPU; on a CPU float32, which is the quickest for a model as small as the starter.

    Measured on two AVX-512 cores, milliseconds for one decoded token: float32 71, bfloat16 88, NF4 190.
    """
    if weight_format == "auto":
        return "nf4" if device.type == "cuda" else "fp32"
    return weight_format


def _activation_dtype(weight_format: WeightFormat, device: torch.device) -> torch.dtype:
    """Of activations and of what NF4 does not quantise: few CPUs compute in bfloat16 faster than in float32."""
    if weight_format == "fp32" or (weight_format == "nf4" and device.type == "cpu"):
        return torch.float32
    return torch.bfloat16


def _check_memory(needed: int, device: torch.device, folder: Path) -> None:
    if device.type == "cuda":
        available, kind = torch.cuda.mem_get_info(device)[0], "GPU memory"
    else:
        available, kind = psutil.virtual_memory().available, "memory"
    if needed > available:
        raise LoadError(
            f"The weights in {folder} need {needed / 2**30:.1f} GiB of {kind}, but {available / 2**30:.1f} GiB are "
            "free: close other programs, or choose a smaller model or fewer bits."
        )


def _read(
    checkpoint: Checkpoint,
    weight_format: WeightFormat,
    dtype: torch.dtype,
    device: torch.device,
    on_progress: OnProgress | None,
    double_quant: bool,
) -> Any:
    """The transformers model, on its device and ready for inference."""
    transformers = _transformers()
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if weight_format == "nf4":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=double_quant,
        )
    try:
        with _reported(on_progress):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="sdpa",
                **options,
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LoadError(f"The checkpoint in {checkpoint.folder} can't be loaded ({reason}).") from error
    return model.eval().requires_grad_(False)


def _transformers() -> ModuleType:
    """Import transformers such that neither it nor bitsandbytes asks a hub for anything, or writes to the terminal.

    Both consult the environment when they are imported; bitsandbytes would ask the hub for a CPU kernel.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for noisy in ("bitsandbytes.backends.cpu.ops", "accelerate", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@contextmanager
def _reported(on_progress: OnProgress | None) -> Iterator[None]:
    """Turn the progress bar that transformers would draw over its tensors into calls."""
    from transformers.utils import logging as bars

    if on_progress is None or not hasattr(bars, "set_tqdm_hook"):
        yield
        return

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") == "Loading weights" and args:
            return _counted(args[0], on_progress)
        return factory(*args, **kwargs)

    previous = bars.set_tqdm_hook(hook)
    try:
        yield
    finally:
        bars.set_tqdm_hook(previous)


def _counted(items: Collection[Any], on_progress: OnProgress) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        yield item
        on_progress(done, len(items))
