"""The installed models, byte for byte against their manifests. Knows not what is in them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from inference.diagnosis.check import Check, Say
from inference.models import inventory, quantised, store
from inference.models.store import StoreError
from inference.planning.planner import amount


def check_models(wanted: Sequence[str], say: Say, *, full: bool) -> Iterator[Check]:
    """Every installed model, with ``full`` its content too (SHA-256), and those of ``wanted`` that are missing."""
    found = inventory.all_installed()
    for model_id in dict.fromkeys(wanted):
        if model_id not in found:
            advice = f"`codellama-ls pull {model_id}` fetches it; `codellama-ls models` lists them all."
            yield Check(f"model {model_id}", "problem", "it is what editors ask for, and is not installed", advice)
    for model_id in found:
        yield _model(model_id, say, full)


def _model(model_id: str, say: Say, full: bool) -> Check:
    name, started, size = f"model {model_id}", time.perf_counter(), 0

    def progress(done: int, of: int) -> None:
        nonlocal size
        size = of
        say(f"comparing {model_id} with its checksums: {100 * done // max(of, 1)} %")

    try:
        store.verify(model_id, full=full, on_progress=progress)
    except StoreError as error:
        return Check(name, "problem", str(error), f"`codellama-ls pull {model_id} --force` repairs it.")
    if why := _damaged_copy(model_id, say, full):
        advice = f"`codellama-ls pull {model_id} --verify` removes them; the next start makes them again."
        return Check(name, "problem", why, advice)
    if not full:
        return Check(name, "ok", "all files there in full length; their content was not read")
    text = f"{amount(size)} as its checksums (SHA-256) say"
    return Check(name, "ok", text, figures={"bytes": size, "seconds": round(time.perf_counter() - started, 2)})


def _damaged_copy(model_id: str, say: Say, full: bool) -> str:
    """Say which quantised weights beside the model are damaged, or nothing."""
    for where in quantised.copies(store.location(model_id)):
        say(f"comparing {where.name} of {model_id} with its checksums")
        if why := quantised.damage(where, full=full):
            return f"the quantised weights in {where} are damaged ({why})"
    return ""
