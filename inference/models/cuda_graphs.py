"""Decode with CUDA graphs: one graph launch per token, where eager execution launches about 15 kernels per layer.

A graph of ``Llama.step`` holds the addresses of one KV session's buffers, so each session has its own graph until its
buffers change.

Source: PyTorch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.models.language_model import KVSession
from inference.models.llama import Llama

log = logging.getLogger(__name__)

WORTH_IT = 16
"""One-token steps over the same buffers before a graph is captured; capturing costs as much as several steps."""

WARM_UP = 2
"""Steps run before capturing, because libraries allocate memory at their first call."""

Replay = Callable[[int, int], Tensor]
"""Maps a token and its position to logits ``[1, vocab]`` in the model's dtype."""

Capture = Callable[[Llama, KVSession, int], Replay]
"""Captures a step over a session's buffers; the token is a sample input for the warm-up at the session's end."""


@dataclass
class _Buffers:
    """A session's buffers at its last step, held weakly: a graph must not keep evicted buffers in memory."""

    first: weakref.ref[Tensor]
    last: weakref.ref[Tensor]
    steps: int = 0
    replay: Replay | None = None

    def match(self, kv: KVSession) -> bool:
        """Return whether the session still has these buffers."""
        return self.first() is kv.keys[0] and self.last() is kv.values[-1]


class GraphedLlama:
    """A ``LanguageModel`` that decodes single tokens through CUDA graphs and leaves the rest to a ``Llama``.

    If capturing fails once, all later steps run without graphs.
    """

    def __init__(self, llama: Llama, capture: Capture | None = None) -> None:
        self.config, self.device, self.dtype = llama.config, llama.device, llama.dtype
        self.heads, self.kv_heads, self.head_dim = llama.heads, llama.kv_heads, llama.head_dim
        self._llama = llama
        self._capture: Capture | None = capture or CudaCapture()
        self._sessions: weakref.WeakKeyDictionary[KVSession, _Buffers] = weakref.WeakKeyDictionary()

    def with_low_rank(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> GraphedLlama:
        """See ``LanguageModel``."""
        adapted = GraphedLlama(self._llama.with_low_rank(pairs), self._capture)
        adapted._capture = self._capture  # None if capturing failed
        return adapted

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """See ``LanguageModel``."""
        replay = self._replay(kv, ids[0]) if len(ids) == 1 and self._capture else None
        if replay is None:
            return self._llama.forward(ids, kv, every_position=every_position)
        logits = replay(ids[0], kv.length)
        kv.length += 1
        return logits.to(torch.float32, copy=True)  # the next replay overwrites them

    def _replay(self, kv: KVSession, token: int) -> Replay | None:
        buffers = self._sessions.get(kv)
        if buffers is None or not buffers.match(kv):
            buffers = self._sessions[kv] = _Buffers(weakref.ref(kv.keys[0]), weakref.ref(kv.values[-1]))
        buffers.steps += 1
        if buffers.replay is None and buffers.steps > WORTH_IT and self._capture:
            _clear_rest(kv)
            try:
                buffers.replay = self._capture(self._llama, kv, token)
            except RuntimeError:
                log.warning("capturing a CUDA graph failed: decoding without CUDA graphs", exc_info=True)
                self._capture = None
        return buffers.replay


@torch.inference_mode()
def _clear_rest(kv: KVSession) -> None:
    """Zero the unused part of the buffers: a step reads it too, and masking does not hide a NaN."""
    for buffer in (*kv.keys, *kv.values):
        buffer[:, :, kv.length :] = 0


class CudaCapture:
    """Captures steps as CUDA graphs in one shared memory pool; only one graph runs at a time."""

    def __init__(self) -> None:
        self._pool: Any = None  # torch's handle, created at the first capture

    @torch.inference_mode()
    def __call__(self, llama: Llama, kv: KVSession, token: int) -> Replay:
        """See ``Capture``. Raises RuntimeError if an operation of the step can't be captured."""
        inputs = torch.tensor([token], device=llama.device), torch.tensor([kv.length], device=llama.device)
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(WARM_UP):
                llama.step(*inputs, kv.keys, kv.values)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = llama.step(*inputs, kv.keys, kv.values)
        return _Graph(graph, inputs, logits)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A captured step with its input tensors (token and position, int64 ``[1]``) and its logits ``[1, vocab]``."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, Tensor]
    logits: Tensor

    @torch.inference_mode()
    def __call__(self, token: int, position: int) -> Tensor:
        for tensor, value in zip(self.inputs, (token, position), strict=True):
            tensor.fill_(value)
        self.graph.replay()
        return self.logits
