"""Print the facts that need torch as one line of JSON. Run as a module, never imported; loads no weights.

Each part runs by itself, so that a failing part does not hide the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from inference.client.engine_process import EngineOptions
from inference.models.shape import Format
from inference.server.model_manager import ChosenModel, ModelChoice, choose_models, plan_models, plan_summary


def main(argv: Sequence[str] | None = None) -> int:
    """Print the facts and return 0."""
    parser = argparse.ArgumentParser()
    for name in ("--model", "--chat-model", "--format"):
        parser.add_argument(name, required=True)
    parser.add_argument("--context", type=int)
    args = parser.parse_args(argv)
    completion, chat = EngineOptions(args.model, chat_model=args.chat_model).models
    wanted = ModelChoice(completion, chat, args.format, args.context)
    # the plan comes first: it selects among several GPUs before torch counts them
    parts = {"plan": lambda: _plan(wanted), "torch": _torch, "four_bits": _four_bits, "library": _library}
    sys.stdout.write(json.dumps({name: _attempt(part) for name, part in parts.items()}) + "\n")
    return 0


def _attempt(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:
        own = type(error).__module__.startswith("inference.")
        return {"error": str(error) if own else f"{type(error).__name__}: {error}", "own": own}


def _torch() -> dict[str, Any]:
    """Return torch's version, its CUDA version (empty for none), and the GPUs that it can use."""
    import torch

    usable = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    gpus = [{"name": torch.cuda.get_device_name(n), "capability": torch.cuda.get_device_capability(n)} for n in usable]
    return {"version": torch.__version__, "cuda": torch.version.cuda or "", "gpus": gpus}


def _four_bits() -> str:
    """Return the reason why the GPU can't compute with 4-bit weights, or an empty string."""
    import torch

    from inference.models.loader import why_no_four_bits

    return why_no_four_bits("cuda") if torch.cuda.is_available() else ""


def _library() -> str:
    """Compile the C library if needed. Return the reason if it is not available, or an empty string."""
    from inference.native.library import NoLibraryError, library
    from inference.native.native_llama import compiled_folder

    try:
        library(compiled_folder())
    except NoLibraryError as error:
        return str(error)
    return ""


def _plan(wanted: ModelChoice) -> dict[str, Any]:
    """Return formats and device of the models, and the bytes that the first start writes. Raises if it can't fit."""
    planned, choices = plan_models(wanted)
    forms: dict[str, Format] = {choice.id: choice.form for choice in choices}
    return {
        "summary": plan_summary(planned),
        "lines": planned.lines(),
        "forms": forms,
        "device": planned.device.kind,
        "to_write": sum(_to_write(one, forms[one.row.id]) for one in choose_models(wanted)),
    }


def _to_write(one: ChosenModel, form: Format) -> int:
    """Return the bytes of quantised weights that the first start stores (see ``models.quantised``)."""
    stored = any(one.checkpoint.folder.glob(f"{form}-*"))
    if stored or one.checkpoint.quantised or form in ("fp32", "bf16"):
        return 0
    return one.checkpoint.weight_bytes("nf4" if form == "nf4-double" else form, 4)


if __name__ == "__main__":
    sys.exit(main())
