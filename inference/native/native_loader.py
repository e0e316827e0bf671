"""Load a checkpoint into a ``NativeLlama``: compile the library, pack the weights once, map them afterwards."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from torch import Tensor

from inference.models import quantised
from inference.models.checkpoint import Checkpoint, LoadError, NativeFormat
from inference.native import packed_weights
from inference.native.library import NoLibraryError, library
from inference.native.native_llama import NativeLlama
from inference.native.packed_weights import Bits
from inference.system.progress import OnProgress

BITS: dict[NativeFormat, Bits] = {"int8": 8, "int4": 4}


def refusal(checkpoint: Checkpoint) -> str:
    """Return the reason why ``read`` can't load this checkpoint on this machine, or "".

    The first call compiles the library.
    """
    if checkpoint.quantised:
        return "its weights are in NF4 already"
    try:
        library(compiled_folder())
    except NoLibraryError as error:
        return str(error)
    return packed_weights.unsuited(checkpoint.config, checkpoint.shapes.values())


def read(checkpoint: Checkpoint, form: NativeFormat, on_progress: OnProgress | None = None) -> NativeLlama:
    """Load the model with matrices in 8 or 4 bits. An installed checkpoint is packed once. Raises LoadError."""
    if why := refusal(checkpoint):
        raise LoadError(
            f"The checkpoint in {checkpoint.folder} can't be loaded as {form}: {why}. Choose another format."
        )
    where = quantised.place(checkpoint.folder, form)
    if where is None:
        tensors = dict(packed_weights.packed(checkpoint, BITS[form], on_progress))
    else:
        tensors = _packed_once(checkpoint, form, where, on_progress)
    return NativeLlama(library(compiled_folder()), checkpoint.config, tensors, BITS[form])


def _packed_once(
    checkpoint: Checkpoint, form: NativeFormat, where: Path, on_progress: OnProgress | None
) -> dict[str, Tensor]:
    bits = BITS[form]
    if quantised.ready(where):
        try:
            return packed_weights.read(where, checkpoint, bits)
        except LoadError as error:
            quantised.drop(where, str(error))
    packed = packed_weights.packed(checkpoint, bits, on_progress)
    if quantised.keep(lambda folder: packed_weights.write(packed, folder), where, checkpoint.weight_bytes(form, 4)):
        return packed_weights.read(where, checkpoint, bits)
    return dict(packed_weights.packed(checkpoint, bits, on_progress))


def compiled_folder() -> Path:
    """Return the folder of the compiled library, which belongs to the machine and user, not to the models."""
    return platformdirs.user_cache_path("codellama-ls", False) / "native"
