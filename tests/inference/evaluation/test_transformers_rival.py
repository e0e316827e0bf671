"""The process that runs transformers' own loop, without the process: a tiny model, and what it would print."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch
from fakes.byte_llama import EOS, tiny_reference

from inference.evaluation.transformers_rival import answer

PROMPT = list(b"def add(a, b):\n    return")


def test_every_token_is_told_as_it_comes_and_their_number_in_the_end():
    model: Any = tiny_reference()
    told = []
    assert answer(model, {"prompt": PROMPT, "tokens": 6}, told.append) == 6
    with torch.inference_mode():
        out = model.generate(torch.tensor([PROMPT]), max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert told == [{"token": token} for token in out[0, len(PROMPT) :].tolist()]


def test_an_end_the_model_would_choose_is_not_chosen_before():
    model = tiny_reference()
    told = []
    first = answer(model, {"prompt": PROMPT, "tokens": 1}, told.append) and told[0]["token"]
    model.generation_config.eos_token_id = [EOS, first]
    told = []
    assert answer(model, {"prompt": PROMPT, "tokens": 5}, told.append) == 5
    assert {"token": first} not in told[:4]


def test_a_model_that_is_not_there_is_said_in_one_object():
    command = [sys.executable, "-m", "inference.evaluation.transformers_rival", "--model", "nobody/has-this"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert list(json.loads(done.stdout)) == ["error"]
    assert "nobody/has-this" in json.loads(done.stdout)["error"]
