"""Which models are installed, and removing one. Torch-free; knows not who uses them: whoever removes one asks first."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from inference.models.store import ModelMissingError, StoreError, forget_kept, location, models_folder


def all_installed() -> dict[str, Path]:
    """The folder of every model by id, sorted; damaged ones are among them, so that they can be seen and removed."""
    root = models_folder()
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def remove(model_id: str) -> None:
    """Delete an installed model, damaged or not.

    Raises ModelMissingError, StoreError while it is being installed, OSError where the disk refuses.
    """
    target = location(model_id)
    if not target.is_dir():
        raise ModelMissingError(f"The model {model_id!r} is not installed.")
    try:
        with FileLock(target.with_name(f".{model_id}.lock"), timeout=0):
            doomed = target.with_name(f".{model_id}.partial")  # an interrupted removal is cleaned up like a pull
            if doomed.exists():
                shutil.rmtree(doomed)
            target.rename(doomed)
            shutil.rmtree(doomed)
            forget_kept(model_id)
    except Timeout:
        raise StoreError(f"The model {model_id!r} is being installed; remove it when that has ended.") from None
