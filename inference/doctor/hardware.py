"""Checks of the GPU, its compute kernels, and memory and disk against the plan. A child process imports torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.client.engine_process import EngineOptions
from inference.doctor.check import Check
from inference.models.store import FOLDER_VARIABLE, models_folder
from inference.planning.planner import format_bytes
from inference.system.child_processes import NEUTRAL_FOLDER, python_module
from inference.system.machine import Machine

PROBE = python_module("inference.doctor.torch_probe")
PROBE_SECONDS = 300
"""The probe may compile the C library, which has a limit of 120 seconds of its own."""

DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")

AMD_FILE = "dev/kfd"
GPU_FILES = ("proc/driver/nvidia/version", "dev/nvidia0", AMD_FILE)
"""Files below / that exist if a GPU has a driver, with or without nvidia-smi."""

SPARE_BYTES = 1 << 30
"""Space to leave on the disk for logs, locks and other programs."""


def probe_torch(options: EngineOptions, command: Sequence[str] = PROBE) -> dict[str, Any]:
    """Run the torch probe and return its facts. If it fails, each part holds the error."""
    arguments = ["--model", options.model, "--chat-model", options.chat_model, "--format", options.format]
    arguments += [] if options.context is None else ["--context", str(options.context)]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=PROBE_SECONDS, cwd=NEUTRAL_FOLDER
        )
    except subprocess.TimeoutExpired:
        return _failed(f"it took more than {PROBE_SECONDS} seconds")
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return _failed(lines[-1] if lines else f"it ended with status {done.returncode}")


def _failed(error: str) -> dict[str, Any]:
    return {part: {"error": error} for part in ("torch", "four_bits", "library", "plan")}


def driver() -> str:
    """Return the NVIDIA driver's version, or an empty string if nvidia-smi does not report one."""
    try:
        done = subprocess.run(DRIVER_QUERY, capture_output=True, text=True, timeout=20, cwd=NEUTRAL_FOLDER)
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.strip().splitlines()
    return lines[0] if lines else ""


def gpu_files(root: Path = Path("/")) -> list[str]:
    """Return the driver files that point to a GPU; none if ``CUDA_VISIBLE_DEVICES`` makes the choice.

    Sources: the documented files of NVIDIA's driver and of AMD's (the interface ``/dev/kfd``).
    """
    return [] if "CUDA_VISIBLE_DEVICES" in os.environ else [name for name in GPU_FILES if (root / name).exists()]


def check_gpu(machine: Machine, driver: str, facts: Mapping[str, Any], files: Sequence[str] = ()) -> Iterator[Check]:
    """Check that torch can use the system's GPU. ``files`` are those that ``gpu_files`` returns."""
    torch = facts["torch"]
    if problem := _error(torch):
        advice = "Reinstall torch in the environment of codellama-ls as pytorch.org describes."
        yield Check("torch", "problem", f"it can't be imported ({problem})", advice, quotes=True)
        return
    if not machine.gpus and (torch["gpus"] or files):
        yield _unmeasured(torch["gpus"], machine, files)
    elif torch["gpus"]:
        yield _usable(torch["gpus"], machine, driver)
    elif not machine.gpus:
        yield Check("GPU", "ok", f"{machine.note} Models run on the CPU.")
    elif torch["cuda"]:
        text = f"torch {torch['version']} (CUDA {torch['cuda']}) can't use {machine.best.name} with the driver {driver}"
        yield Check("GPU", "problem", text, "Update the NVIDIA driver, or install a torch for an older CUDA.")
    else:
        text = f"torch {torch['version']} was built without CUDA, so {machine.best.name} is not used"
        yield Check("GPU", "problem", text, "Install torch's CUDA build as pytorch.org describes.")


def _unmeasured(gpus: Sequence[Mapping[str, Any]], machine: Machine, files: Sequence[str]) -> Check:
    """Report a GPU that is not used because its memory size, which the planner needs, is unknown."""
    names = ", ".join(gpu["name"] for gpu in gpus) or f"found by /{files[0]}"
    text = f"the GPU ({names}) is not used: {machine.note or 'its memory size is unknown.'}"
    if list(files) == [AMD_FILE]:
        return Check("GPU", "warning", text, "Only NVIDIA GPUs are supported. Models run on the CPU.")
    advice = (
        "Make sure that nvidia-smi, a part of NVIDIA's driver, works and is on the PATH (in a container: add the "
        "driver capability `utility`). Until then models run on the CPU."
    )
    return Check("GPU", "warning", text, advice)


def _usable(gpus: Sequence[Mapping[str, Any]], machine: Machine, driver: str) -> Check:
    names = ", ".join(f"{gpu['name']} ({'.'.join(map(str, gpu['capability']))})" for gpu in gpus)
    best = machine.best
    text = f"{names}, driver {driver or 'unknown'}, {format_bytes(best.free)} free of {format_bytes(best.total)}"
    return Check("GPU", "ok", text, figures={"gpu_bytes": best.total, "gpu_free_bytes": best.free})


def check_kernels(facts: Mapping[str, Any]) -> Iterator[Check]:
    """Check the compute kernels: 4-bit kernels on a GPU, the C library on a CPU."""
    planned = facts["plan"].get("device", "cuda") == "cuda"
    on_gpu = planned and not _error(facts["torch"]) and bool(facts["torch"]["gpus"])
    if on_gpu:
        error = _error(facts["four_bits"]) or facts["four_bits"]
        advice = "Reinstall bitsandbytes: `python -m pip install --force-reinstall bitsandbytes`."
        text = f"bitsandbytes' 4-bit kernels fail ({error})" if error else "bitsandbytes' 4-bit kernels work on the GPU"
        yield Check("kernels", "problem" if error else "ok", text, advice if error else "", quotes=bool(error))
    else:
        yield _library(_error(facts["library"]) or facts["library"])
    forms = facts["plan"].get("forms", {})
    if forms:
        formats = ", ".join(f"{model} as {form}" for model, form in forms.items())
        yield Check("format", "ok", f"on the {'GPU' if facts['plan']['device'] == 'cuda' else 'CPU'}: {formats}")


def _library(error: str) -> Check:
    if not error:
        return Check("kernels", "ok", "the C library is compiled, for AVX-512 VNNI")
    text = f"no C library: {error}. Models run with torch on the CPU, which is slower"
    advice = "Install gcc or clang." if "compile" in error else "No action is needed; a GPU would be faster."
    return Check("kernels", "warning", text, advice)


def check_room(facts: Mapping[str, Any], loaded: bool) -> Iterator[Check]:
    """Check free memory against the plan, unless the models are ``loaded``, and free disk against files to write."""
    planned = facts["plan"]
    if problem := _error(planned):
        if not loaded:
            advice = "Follow this message. `codellama-ls models` lists the models that fit."
            yield Check("memory", "problem", problem, advice, quotes=not planned.get("own", False))
    elif loaded:
        yield Check("memory", "ok", "the models are loaded")
    else:
        yield Check("memory", "ok", planned["summary"])
    yield _disk(models_folder(), planned.get("to_write", 0))


def _disk(folder: Path, to_write: int) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    needed = f"; the next start writes {format_bytes(to_write)}" if to_write else ""
    text = f"{format_bytes(free)} free for models{needed}"
    figures = {"free_bytes": free, "to_write_bytes": to_write}
    if free >= to_write + SPARE_BYTES:
        return Check("disk", "ok", text, figures=figures)
    advice = f"Free some space, or set {FOLDER_VARIABLE} to a folder on a larger disk."
    return Check("disk", "problem" if free < to_write else "warning", text, advice, figures)


def _error(part: Any) -> str:
    return part.get("error", "") if isinstance(part, Mapping) else ""
