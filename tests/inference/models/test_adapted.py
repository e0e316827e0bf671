"""An engine under adapters: separate KV caches, and adapters reloaded when their files change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes.byte_llama import EOS, ByteTokenizer, tiny_reference
from fakes.lora import save_lora
from peft import PeftModel

from inference.api.events import Finished, Outcome, RequestOptions, Sampling, TextChunk
from inference.engine.engine import Engine
from inference.models.adapter_store import AdapterError, AdapterMissingError
from inference.models.catalog import STARTER
from inference.models.language_model import LanguageModel
from inference.models.llama import Llama
from inference.models.lora import AdapterCache
from inference.text.prompts import Message
from inference.text.tokenizer import decode

PROMPT = list(b"def add(a, b):\n    return")
GREEDY = Sampling(max_tokens=24)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Two adapters of the tiny model."""
    root = tmp_path_factory.mktemp("adapters")
    return [save_lora(root / name, tiny_reference(), seed) for seed, name in enumerate(("first", "second"))]


@pytest.fixture
def engine() -> Engine:
    return Engine(Llama(tiny_reference()), ByteTokenizer(), STARTER)


def under(adapter: Path | None) -> RequestOptions:
    return RequestOptions(adapter=adapter)


def ask(engine: Engine, adapter: Path | None = None, prompt: list[int] = PROMPT) -> tuple[str, Outcome]:
    steps = engine.complete(prompt, sampling=GREEDY, options=under(adapter))
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(e.text for e in events if isinstance(e, TextChunk)), events[-1].outcome


def expected(folder: Path | None, prompt: list[int] = PROMPT) -> str:
    """Return transformers' text, with peft's adapter if one is given."""
    import torch

    model: Any = tiny_reference()
    model = PeftModel.from_pretrained(model, str(folder)) if folder else model
    with torch.inference_mode():
        out = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=GREEDY.max_tokens, do_sample=False)
    return decode(ByteTokenizer(), [i for i in out[0, len(prompt) :].tolist() if i != EOS])


def touched(folder: Path) -> None:
    """Change the modification time independently of the file system's clock resolution."""
    weights = folder / "adapter_model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))


def test_greedy_completions_equal_peft(engine, folders):
    texts = [ask(engine)[0], *(ask(engine, folder)[0] for folder in folders)]
    assert texts == [expected(None), *map(expected, folders)]
    assert len(set(texts)) == 3


def test_adapters_do_not_share_cached_tokens(engine, folders):
    """The same tokens have other keys and values. Each adapter reuses its own."""
    first = [ask(engine, adapter) for adapter in (None, *folders)]
    again = [ask(engine, adapter) for adapter in (None, *folders)]
    assert [outcome.reused_tokens for _, outcome in first] == [0, 0, 0]
    assert [outcome.reused_tokens for _, outcome in again] == [len(PROMPT) - 1] * 3
    assert [text for text, _ in first] == [text for text, _ in again]


def test_chat_uses_the_adapter(engine, folders):
    def chat(adapter: Path | None) -> str:
        events = engine.chat([Message("user", "Hi")], GREEDY, under(adapter))
        return "".join(event.text for event in events if isinstance(event, TextChunk))

    assert chat(None) != chat(folders[0])


def test_sessions_outlive_the_request_while_the_adapter_is_kept(engine, folders):
    """While typing, each request names its adapter again."""
    ask(engine, folders[0])
    longer = [*PROMPT, *b" a +"]
    text, outcome = ask(engine, folders[0], longer)
    assert outcome.reused_tokens >= len(PROMPT)
    assert text == expected(folders[0], longer)


def test_changed_adapter_is_reloaded_and_its_sessions_dropped(engine, folders, tmp_path):
    """The adapter is trained again while the engine runs."""
    folder = Path(shutil.copytree(folders[0], tmp_path / "mine"))
    before, _ = ask(engine, folder)
    shutil.copy(folders[1] / "adapter_model.safetensors", folder)
    touched(folder)
    after, outcome = ask(engine, folder)
    assert (before, after) == (expected(folders[0]), expected(folders[1]))
    assert outcome.reused_tokens == 0


def test_running_completion_keeps_its_adapter_version(engine, folders, tmp_path):
    """The adapter's files change between two tokens."""
    folder = Path(shutil.copytree(folders[0], tmp_path / "mine"))
    steps = engine.complete(PROMPT, sampling=GREEDY, options=under(folder))
    begun = [next(steps) for _ in range(4)]
    touched(folder)
    engine.complete(PROMPT, options=under(folder))
    text = "".join(event.text for event in [*begun, *steps] if isinstance(event, TextChunk))
    assert text == expected(folders[0])
    assert engine._slots["completion"].pool.tokens == 0


def test_least_recently_used_adapter_is_dropped(folders, tmp_path):
    dropped: list[LanguageModel] = []
    models = AdapterCache(Llama(tiny_reference()), dropped.append, most=2)
    one, two, three = (Path(shutil.copytree(folders[0], tmp_path / name)) for name in "abc")
    first, second = models.get(one), models.get(two)
    assert models.get(one) is first
    models.get(three)
    assert dropped == [second]
    assert models.get(one) is first
    assert models.get(two) is not second


def test_engine_survives_an_unreadable_adapter(engine, folders, tmp_path):
    folder = Path(shutil.copytree(folders[0], tmp_path / "mine"))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError, match="is missing, damaged or cut short"):
        ask(engine, folder)
    shutil.rmtree(folder)
    with pytest.raises(AdapterMissingError, match="is gone or can't be read"):
        ask(engine, folder)
    assert ask(engine)[0] == expected(None)
