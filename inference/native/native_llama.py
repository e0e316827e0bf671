"""A ``LanguageModel`` whose forward pass is one call into C (``llama.c``), and loading a checkpoint into it.

A token's keys, values and logits do not depend on how many tokens are read in one call. Loading compiles the library
and packs the weights once, and maps them afterwards.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models import quantised
from inference.models.checkpoint import Checkpoint, LoadError, NativeFormat
from inference.models.language_model import KVSession
from inference.models.llama import MATRICES
from inference.models.shape import Shape
from inference.native import packed_weights
from inference.native.library import NoLibraryError, library
from inference.native.packed_weights import EMBEDDING, HEAD, HEAD_BITS, INPUTS, NORM, OUTPUTS, Bits
from inference.system.terminal import OnProgress


class _Matrix(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("packed", "low", "high")),
        *((name, ctypes.c_int) for name in ("outputs", "inputs", "bits", "rank")),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("attention_norm", "mlp_norm")),
        *((name, _Matrix) for name in MATRICES),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.POINTER(_Layer)),
        ("norm", ctypes.c_void_p),
        ("head", _Matrix),
        *((name, ctypes.c_int) for name in ("depth", "hidden", "intermediate", "heads", "kv_heads", "head_dim")),
        ("eps", ctypes.c_float),
    )


class Config(SimpleNamespace):
    """A config.json with its entries as attributes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entries."""
        return vars(self)


class NativeLlama:
    """A ``LanguageModel`` on the CPU with a float32 KV cache."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(
        self, library: ctypes.CDLL, config: Mapping[str, Any], tensors: Mapping[str, Tensor], bits: Bits
    ) -> None:
        """Use ``tensors`` as named and packed by ``packed_weights``, without copying them."""
        shape = Shape.from_config(config)
        self.config = Config(**{"max_position_embeddings": shape.positions, **config})
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self._forward = library.llama_forward
        self._tensors = tensors
        self._adapter: list[Tensor] = []
        self._layers = (_Layer * shape.layers)(*(_layer(tensors, n, bits) for n in range(shape.layers)))
        self._shape, self._eps = shape, float(config.get("rms_norm_eps", 1e-6))
        self._struct = self._model()
        self._frequencies = shape.rope_theta ** (torch.arange(0, -shape.head_dim, -2) / shape.head_dim)

    def _model(self) -> _Model:
        shape = self._shape
        sizes = (shape.layers, shape.hidden, shape.intermediate, shape.heads, shape.kv_heads, shape.head_dim)
        head = _matrix(self._tensors[HEAD], HEAD_BITS)
        return _Model(self._layers, self._tensors[NORM].data_ptr(), head, *sizes, self._eps)

    def with_low_rank(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> NativeLlama:
        """See ``LanguageModel.with_low_rank``."""
        other = copy(self)
        other._layers = type(self._layers).from_buffer_copy(self._layers)
        other._adapter = []
        for name, (a, b) in pairs.items():
            low, high = a.float().contiguous(), b.float().T.contiguous()
            other._adapter += [low, high]
            layer, _, path = name.removeprefix("model.layers.").partition(".")
            matrix = getattr(other._layers[int(layer)], FIELDS[path])
            matrix.low, matrix.high, matrix.rank = low.data_ptr(), high.data_ptr(), len(low)
        other._struct = other._model()
        return other

    @torch.inference_mode()
    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """See ``LanguageModel.forward``: returns float32 logits ``[1, vocab]`` or ``[len(ids), vocab]``."""
        start, count = kv.length, len(ids)
        x = F.embedding(torch.tensor(ids), self._tensors[EMBEDDING]).float()
        angles = torch.arange(start, start + count, dtype=torch.float32)[:, None] * self._frequencies
        cosine, sine = angles.cos(), angles.sin()
        logits = torch.empty(count if every_position else 1, self._shape.vocab)
        numbers = (count, start, kv.keys[0].shape[2], len(logits), torch.get_num_threads())
        floats = (_pointer(tensor) for tensor in (x, cosine, sine))
        failed = self._forward(
            ctypes.byref(self._struct), *floats, _pointers(kv.keys), _pointers(kv.values), _pointer(logits), *numbers
        )
        if failed:
            raise MemoryError(f"can't allocate the activations of {count} tokens")
        kv.length = start + count
        return logits


FIELDS = {path: field for field, path in MATRICES.items()}


def _layer(tensors: Mapping[str, Tensor], number: int, bits: Bits) -> _Layer:
    prefix = f"model.layers.{number}."
    norms = (tensors[f"{prefix}{name}.weight"].data_ptr() for name in ("input_layernorm", "post_attention_layernorm"))
    return _Layer(*norms, *(_matrix(tensors[f"{prefix}{path}.weight"], bits) for path in MATRICES.values()))


def _matrix(packed: Tensor, bits: Bits) -> _Matrix:
    blocks, groups, _ = packed.shape
    return _Matrix(packed.data_ptr(), None, None, blocks * OUTPUTS, groups * INPUTS, bits, 0)


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _pointers(tensors: list[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


BITS: dict[NativeFormat, Bits] = {"int8": 8, "int4": 4}


def why_unsupported(checkpoint: Checkpoint) -> str:
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
    if why := why_unsupported(checkpoint):
        raise LoadError(
            f"The checkpoint in {checkpoint.folder} can't be loaded as {form}: {why}. Choose another format."
        )
    where = quantised.copy_folder(checkpoint.folder, form)
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
