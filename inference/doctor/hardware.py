"""The GPU, the kernels that compute, and memory and disk against the plan; torch is asked in a child process.

Knows no checksums and no engine. Of a program that was told not to use a GPU nothing is said against that.
"""

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
from inference.planning.planner import amount
from inference.system.child_processes import NEUTRAL_FOLDER, python_module
from inference.system.machine import Machine

PROBE = python_module("inference.doctor.torch_probe")
PROBE_SECONDS = 300
"""The C library may have to be compiled, which has 120 of them."""

DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")

AMD = "dev/kfd"
SIGNS = ("proc/driver/nvidia/version", "dev/nvidia0", AMD)
"""Files below / that are there where a GPU has a driver, be there an nvidia-smi or not."""

SPARE_BYTES = 1 << 30
"""What a disk should have left for logs, locks and other programs."""


def ask(options: EngineOptions, command: Sequence[str] = PROBE) -> dict[str, Any]:
    """What the probe says; where it says nothing, each part says why."""
    arguments = ["--model", options.model, "--chat-model", options.chat_model, "--format", options.format]
    arguments += [] if options.context is None else ["--context", str(options.context)]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=PROBE_SECONDS, cwd=NEUTRAL_FOLDER
        )
    except subprocess.TimeoutExpired:
        return _unsaid(f"it took more than {PROBE_SECONDS} seconds")
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return _unsaid(lines[-1] if lines else f"it ended with status {done.returncode}")


def _unsaid(why: str) -> dict[str, Any]:
    return {part: {"error": why} for part in ("torch", "four_bits", "library", "plan")}


def driver() -> str:
    """The NVIDIA driver's version, or nothing where none tells."""
    try:
        answer = subprocess.run(DRIVER_QUERY, capture_output=True, text=True, timeout=20, cwd=NEUTRAL_FOLDER)
    except (OSError, subprocess.SubprocessError):
        return ""
    said = answer.stdout.strip()
    return said.splitlines()[0] if said else ""


def signs(root: Path = Path("/")) -> list[str]:
    """What the system has of GPUs although none was found; nothing where ``CUDA_VISIBLE_DEVICES`` chooses.

    Sources: the files of NVIDIA's driver and of AMD's (the interface ``/dev/kfd``), as those document them.
    """
    return [] if "CUDA_VISIBLE_DEVICES" in os.environ else [name for name in SIGNS if (root / name).exists()]


def check_gpu(found: Machine, driver: str, facts: Mapping[str, Any], seen: Sequence[str] = ()) -> Iterator[Check]:
    """Whether the GPU that the system sees is one that torch can use; ``seen`` as ``signs`` tells."""
    torch = facts["torch"]
    if problem := _error(torch):
        advice = "Install torch anew into the environment of codellama-ls, as its own site describes."
        yield Check("torch", "problem", f"it can't be imported ({problem})", advice, quotes=True)
        return
    if not found.gpus and (torch["gpus"] or seen):
        yield _unseen(torch["gpus"], found, seen)
    elif torch["gpus"]:
        yield _usable(torch["gpus"], found, driver)
    elif not found.gpus:
        yield Check("GPU", "ok", f"{found.note} Models are computed on the CPU.")
    elif torch["cuda"]:
        text = f"torch {torch['version']} (CUDA {torch['cuda']}) can't use {found.best.name} with the driver {driver}"
        yield Check("GPU", "problem", text, "Update the NVIDIA driver, or install a torch for an older CUDA.")
    else:
        text = f"torch {torch['version']} was built without CUDA, so {found.best.name} is not used"
        yield Check("GPU", "problem", text, "Install torch's CUDA build, as its own site describes.")


def _unseen(gpus: Sequence[Mapping[str, Any]], found: Machine, seen: Sequence[str]) -> Check:
    """A GPU whose memory nobody tells is not planned for, and so not used."""
    named = ", ".join(gpu["name"] for gpu in gpus) or f"one (/{seen[0]} is there)"
    text = f"there is a GPU, {named}, and it is not used: {found.note or 'it does not tell its memory.'}"
    if list(seen) == [AMD]:
        return Check("GPU", "warning", text, "Only NVIDIA's are; models are computed on the CPU meanwhile.")
    advice = (
        "Have nvidia-smi, which comes with NVIDIA's driver, work and lie on the PATH (in a container: the driver's "
        "capability `utility`); models are computed on the CPU meanwhile."
    )
    return Check("GPU", "warning", text, advice)


def _usable(gpus: Sequence[Mapping[str, Any]], found: Machine, driver: str) -> Check:
    names = ", ".join(f"{gpu['name']} ({'.'.join(map(str, gpu['capability']))})" for gpu in gpus)
    best = found.best
    text = f"{names}, driver {driver or 'unknown'}, {amount(best.free)} free of {amount(best.total)}"
    return Check("GPU", "ok", text, figures={"gpu_bytes": best.total, "gpu_free_bytes": best.free})


def check_kernels(facts: Mapping[str, Any]) -> Iterator[Check]:
    """What computes: 4-bit kernels on a GPU, the C library on a CPU."""
    planned = facts["plan"].get("device", "cuda") == "cuda"
    on_gpu = planned and not _error(facts["torch"]) and bool(facts["torch"]["gpus"])
    if on_gpu:
        why = _error(facts["four_bits"]) or facts["four_bits"]
        advice = "Install bitsandbytes anew: `python -m pip install --force-reinstall bitsandbytes`."
        text = f"4-bit weights can't be computed with ({why})" if why else "bitsandbytes' 4-bit kernels work on the GPU"
        yield Check("kernels", "problem" if why else "ok", text, advice if why else "", quotes=bool(why))
    else:
        yield _library(_error(facts["library"]) or facts["library"])
    forms = facts["plan"].get("forms", {})
    if forms:
        held = ", ".join(f"{model} as {form}" for model, form in forms.items())
        yield Check("format", "ok", f"held on the {'GPU' if facts['plan']['device'] == 'cuda' else 'CPU'}: {held}")


def _library(why: str) -> Check:
    if not why:
        return Check("kernels", "ok", "the C library is compiled, for AVX-512 VNNI")
    text = f"no C library: {why}; the CPU computes with torch, which is slower"
    fixable = "compile" in why
    advice = "Install gcc or clang." if fixable else "Nothing needs to be done; a GPU would be quicker."
    return Check("kernels", "warning", text, advice)


def check_room(facts: Mapping[str, Any], loaded: bool) -> Iterator[Check]:
    """Free memory against the plan, unless the models are ``loaded`` already, and free disk against what is kept."""
    planned = facts["plan"]
    if problem := _error(planned):
        if not loaded:
            quotes = not planned.get("own", False)
            yield Check("memory", "problem", problem, _room_advice(problem), quotes=quotes)
    elif loaded:
        yield Check("memory", "ok", "the models are loaded")
    else:
        yield Check("memory", "ok", planned["summary"])
    yield _disk(models_folder(), planned.get("to_write", 0))


def _room_advice(problem: str) -> str:
    """Most of the sentences say themselves what to do."""
    said = any(word in problem for word in ("choose", "run `", "pull", "free some"))
    return "Do as it says." if said else "`codellama-ls models` lists what fits here."


def _disk(folder: Path, to_write: int) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    needed = f", {amount(to_write)} of which the next start takes" if to_write else ""
    text = f"{amount(free)} free for models{needed}"
    figures = {"free_bytes": free, "to_write_bytes": to_write}
    if free >= to_write + SPARE_BYTES:
        return Check("disk", "ok", text, figures=figures)
    advice = f"Make room, or set {FOLDER_VARIABLE} to a folder on a larger disk."
    return Check("disk", "problem" if free < to_write else "warning", text, advice, figures)


def _error(part: Any) -> str:
    return part.get("error", "") if isinstance(part, Mapping) else ""
