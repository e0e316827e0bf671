"""Out of memory during generation: the same text, a shorter context, or an error message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from fakes.byte_llama import EOS, ByteTokenizer
from fakes.known_model import KnownModel, Reciter, one_hot

from inference.api.events import Finished, Outcome, Sampling, Steps, TextChunk
from inference.engine.engine import Engine
from inference.engine.out_of_memory import OutOfMemoryError, is_out_of_memory
from inference.models.catalog import STARTER
from inference.models.language_model import KVSession
from inference.text.prompts import Message

CPU_WORDS = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"


def run(steps: Steps) -> tuple[str, Outcome]:
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(e.text for e in events[:-1] if isinstance(e, TextChunk)), events[-1].outcome


def engine(model: KnownModel, contexts=None) -> Engine:
    return Engine(model, ByteTokenizer(), replace(STARTER, infill=False), contexts, drafts=False)  # type: ignore[arg-type]


class Failing(Reciter):
    """Runs out of memory at the forward passes with these numbers."""

    def __init__(self, text: bytes, *fails: int) -> None:
        super().__init__([*text, EOS])
        self.fails, self.passes = fails, 0

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False):
        self.passes += 1
        if self.passes in self.fails:
            kv.length += 1  # a failed pass may have written already
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(ids, kv, every_position=every_position)


class Narrow(KnownModel):
    """Runs out of memory if all caches together exceed ``most`` tokens, and generates one letter forever."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def next(self, ids: Sequence[int]):
        return one_hot(ord("x"), self.config.vocab_size)

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False):
        if kv.pool is not None and kv.pool.tokens > self.most:
            raise RuntimeError(CPU_WORDS)
        return super().forward(ids, kv, every_position=every_position)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError(CPU_WORDS), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_every_allocator_are_recognised(error, short):
    assert is_out_of_memory(error) is short


def test_error_of_torchs_cpu_allocator_is_recognised():
    """Its message may change between versions."""
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)


@pytest.mark.parametrize("fails", [(1,), (2,), (5,), (1, 4, 9)])
def test_generation_resumes_with_the_same_text(fails):
    """The prompt and the generated tokens are read again, wherever memory ran out."""
    model = Failing(b"ab: the answer", *fails)
    text, outcome = run(engine(model).complete(list(b"ab:"), sampling=Sampling(max_tokens=40)))
    assert (text, outcome.cause, outcome.completion_tokens) == (" the answer", "end", 11)


def test_other_sessions_are_evicted_first():
    """Two documents' sessions do not fit together; the one in use stays."""
    model = Narrow(most=512)
    served = engine(model, {"completion": 4096})
    for letter in b"ab":
        assert run(served.complete([letter] * 100, sampling=Sampling(max_tokens=4)))[0] == "xxxx"
    assert served._slots["completion"].pool.tokens == 512
    assert served.contexts == {"completion": 4096}


def test_context_is_shortened_for_good_until_the_prompt_fits():
    model = Narrow(most=1024)
    served = engine(model, {"completion": 4096})
    text, outcome = run(served.complete("a" * 4000, sampling=Sampling(max_tokens=4)))
    assert text == "xxxx"
    assert 512 < outcome.prompt_tokens <= 1024 - 4
    assert served.contexts == {"completion": 1024}
    model.reads.clear()
    run(served.complete("b" * 4000, sampling=Sampling(max_tokens=4)))
    assert sum(map(len, model.reads)) < 1024 + 4, "read once: nothing failed this time"


def test_other_roles_keep_their_context():
    served = engine(Narrow(most=1024), {"completion": 4096, "chat": 2048})
    run(served.complete("a" * 4000, sampling=Sampling(max_tokens=4)))
    assert served.contexts == {"completion": 1024, "chat": 2048}


def test_chat_context_is_shortened():
    served = engine(Narrow(most=1024), {"chat": 2048})
    turns = [Message("user", "a" * 500), Message("assistant", "b" * 500), Message("user", "c" * 500)]
    text, outcome = run(served.chat(turns, Sampling(max_tokens=4)))
    assert text == "xxxx"
    assert outcome.prompt_tokens <= 1024
    assert served.contexts == {"chat": 1024}


def test_failure_is_reported_and_the_next_request_succeeds():
    model = Narrow(most=100)
    served = engine(model, {"completion": 1024})
    with pytest.raises(OutOfMemoryError, match="Close other programs that use the memory, or choose a smaller model"):
        run(served.complete("a" * 900))
    assert served.contexts == {"completion": 256}
    model.most = 4096
    assert run(served.complete("a" * 100, sampling=Sampling(max_tokens=4)))[0] == "xxxx"


def test_begun_completion_is_not_restarted_with_another_prompt():
    """Its text may be on the screen already."""
    model = Failing(b"ab: the answer", 4, 5)
    served = engine(model, {"completion": 4096})
    with pytest.raises(OutOfMemoryError):
        run(served.complete(list(b"ab:")))
    assert served.contexts == {"completion": 4096}
