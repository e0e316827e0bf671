"""Decoding on a GPU with one graph launch a token, where eager execution would launch some 15 kernels a layer.

A graph holds the addresses of a KV session's buffers, so each session has its own, for as long as it has those buffers.
Knows no weights: what is captured is ``Llama.step``. Source: PyTorch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from inference.models.language_model import KVSession
    from inference.models.llama import Llama

log = logging.getLogger(__name__)

WORTH_IT = 16
"""One-token steps over the same buffers before a graph is captured, which takes as long as some of them."""

WARM_UP = 2
"""Steps before capturing, for what libraries allocate at a first call."""

Replay = Callable[[int, int], Tensor]
"""A token and its position -> logits ``[1, vocab]``."""

Capture = Callable[["Llama", "KVSession", int], Replay]
"""Captures a step of the model over a session's buffers, with a token to try it on at the session's end."""


@dataclass
class _Buffers:
    """A session's buffers as they were last seen, held weakly: a graph must not keep evicted ones in memory."""

    first: weakref.ref[Tensor]
    last: weakref.ref[Tensor]
    steps: int = 0
    replay: Replay | None = None

    def are(self, kv: KVSession) -> bool:
        return self.first() is kv.keys[0] and self.last() is kv.values[-1]


class GraphedLlama:
    """A Llama whose single tokens are decoded by graphs; else it is the one given. See ``LanguageModel``.

    A step that can't be captured is computed as before, and so is every later one.
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
        adapted._capture = self._capture  # None where a step could not be captured
        return adapted

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """See ``LanguageModel``."""
        replay = self._replay(kv, ids[0]) if len(ids) == 1 and self._capture else None
        if replay is None:
            return self._llama.forward(ids, kv, every_position=every_position)
        logits = replay(ids[0], kv.length)
        kv.length += 1
        return logits.to(torch.float32, copy=True)  # the graph writes the next ones to the same place

    def _replay(self, kv: KVSession, token: int) -> Replay | None:
        buffers = self._sessions.get(kv)
        if buffers is None or not buffers.are(kv):
            buffers = self._sessions[kv] = _Buffers(weakref.ref(kv.keys[0]), weakref.ref(kv.values[-1]))
        buffers.steps += 1
        if buffers.replay is None and buffers.steps > WORTH_IT and self._capture:
            _clear_rest(kv)
            try:
                buffers.replay = self._capture(self._llama, kv, token)
            except RuntimeError:
                log.warning("decoding goes on without CUDA graphs: a step can't be captured", exc_info=True)
                self._capture = None
        return buffers.replay


@torch.inference_mode()
def _clear_rest(kv: KVSession) -> None:
    """A captured step reads the buffers whole, and a mask does not hide a NaN that was in memory never written to."""
    for buffer in (*kv.keys, *kv.values):
        buffer[:, :, kv.length :] = 0


class CudaCapture:
    """Captures steps as CUDA graphs, all in one memory pool: one of them runs at a time."""

    def __init__(self) -> None:
        self._pool: Any = None  # torch's handle, made once there is something to capture

    @torch.inference_mode()
    def __call__(self, llama: Llama, kv: KVSession, token: int) -> Replay:
        """See ``Capture``. Raises RuntimeError where something in the step can't be captured."""
        inputs = torch.tensor([token], device=llama.device), torch.tensor([kv.length], device=llama.device)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                llama.step(*inputs, kv.keys, kv.values)
        torch.cuda.current_stream().wait_stream(aside)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = llama.step(*inputs, kv.keys, kv.values)
        return _Graph(graph, inputs, logits)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A captured step with where it reads its numbers and writes its logits."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, Tensor]
    logits: Tensor

    @torch.inference_mode()
    def __call__(self, token: int, position: int) -> Tensor:
        for place, number in zip(self.inputs, (token, position), strict=True):
            place.fill_(number)
        self.graph.replay()
        return self.logits
