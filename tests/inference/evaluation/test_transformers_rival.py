"""The benchmark process around transformers' ``generate()``, mostly in-process on a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch
from fakes.byte_llama import EOS, tiny_reference

from inference.evaluation.transformers_rival import generate_tokens

PROMPT = list(b"def add(a, b):\n    return")


def test_every_token_is_sent_and_the_count_returned():
    model: Any = tiny_reference()
    sent = []
    assert generate_tokens(model, {"prompt": PROMPT, "tokens": 6}, sent.append) == 6
    with torch.inference_mode():
        out = model.generate(torch.tensor([PROMPT]), max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert sent == [{"token": token} for token in out[0, len(PROMPT) :].tolist()]


def test_end_token_is_not_generated_before_the_limit():
    model = tiny_reference()
    sent = []
    generate_tokens(model, {"prompt": PROMPT, "tokens": 1}, sent.append)
    first = sent[0]["token"]
    model.generation_config.eos_token_id = [EOS, first]
    sent = []
    assert generate_tokens(model, {"prompt": PROMPT, "tokens": 5}, sent.append) == 5
    assert {"token": first} not in sent[:4]


def test_missing_model_is_reported_as_one_json_object():
    command = [sys.executable, "-m", "inference.evaluation.transformers_rival", "--model", "nobody/has-this"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert list(json.loads(done.stdout)) == ["error"]
    assert "nobody/has-this" in json.loads(done.stdout)["error"]
