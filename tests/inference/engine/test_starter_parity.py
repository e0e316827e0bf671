"""The decode loop equals transformers' ``generate``: the starter, float32, token for token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from inference.api.events import Sampling
from inference.engine.decode import ChunkSize, generate
from inference.engine.sampling import make_sampler
from inference.models.language_model import KVPool
from inference.models.llama import Llama
from inference.text.tokenizer import ByteLevelTokenizer

pytestmark = [pytest.mark.starter, pytest.mark.slow]

NEW = 12
PROMPTS = [
    "def fibonacci(n):\n",
    "import os\nimport sys\n\n\ndef main():\n    ",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
    "for i in range(10):\n    print(",
    "function add(a, b) {\n  return",
    "const express = require('express');\nconst app =",
    "public static void main(String[] args) {\n",
    "#include <stdio.h>\n\nint main(void) {\n    printf(",
    "SELECT name, COUNT(*) FROM users",
    "fn main() {\n    let x: i32 =",
    "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.",
    "# Read a file line by line and count words\nwith open(path) as f:\n",
    "try:\n    value = int(text)\nexcept ValueError",
    "x = [1, 2, 3]\ny = [a * 2 for a in",
    "def is_prime(n: int) -> bool:\n    if n < 2:\n        return False\n",
    "import numpy as np\n\na = np.zeros((3, 3))\nprint(a.",
    "{\n  \"name\": \"demo\",\n  \"version\": \"1.0.0\",\n",
    "<html>\n<head>\n<title>",
    "def größe(wert):  # naïve café 😋\n    return",
    "\tif x:\n\t\treturn 1\n\telse:\n\t\t",
]  # fmt: skip


@pytest.fixture(scope="module")
def reference(starter_folder: Path):
    return AutoModelForCausalLM.from_pretrained(starter_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(starter_folder: Path) -> ByteLevelTokenizer:
    return ByteLevelTokenizer(starter_folder)


def ours(model: Llama, pool: KVPool, prompt: list[int], new: int = NEW) -> list[int]:
    session = pool.acquire(prompt)
    steps = generate(model, session, prompt, make_sampler(), max_tokens=new, chunk=ChunkSize())
    ids = [step for step in steps if isinstance(step, int)]
    pool.release(session)
    return ids


def theirs(reference, prompt: list[int]) -> list[int]:
    with torch.inference_mode():
        out = reference.generate(torch.tensor([prompt]), max_new_tokens=NEW, do_sample=False, eos_token_id=-1)
    return out[0, len(prompt) :].tolist()


def test_twenty_prompts_with_and_without_reuse(reference, tokenizer):
    """Without reuse: a new pool. With reuse: the first half has been read and continued before."""
    model = Llama(reference)
    assert len(PROMPTS) == 20
    for text in PROMPTS:
        prompt = tokenizer.encode(text)
        wanted = theirs(reference, prompt)
        pool = KVPool(model, 512)
        assert ours(model, pool, prompt) == wanted, text
        assert ours(model, pool, [*prompt[: len(prompt) // 2 + 1], 5], new=2)  # another ending ...
        assert ours(model, pool, prompt) == wanted, text  # ... and back


def test_sampling_default_is_greedy():
    assert Sampling().temperature == 0
