"""The forward pass in C, compared with torch's over the same weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes.lora import save_lora
from fakes.tiny_llama import change_config, save_llama
from transformers import LlamaForCausalLM

from inference.models import manifest
from inference.models.checkpoint import LoadError, inspect
from inference.models.language_model import KVSession
from inference.models.llama import MATRICES, Llama
from inference.models.loader import load
from inference.models.lora import with_adapter
from inference.native import packed_weights
from inference.native.library import why_unavailable
from inference.native.packed_weights import unpack

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable())

ROOT = Path(__file__).parents[3]
TIPPED = 0.02
"""What activations that were tipped make of logits, as a share of their spread; unrounded ones differ by more."""
IDS = [5, 80, 3, 111, 42, 7, 7, 99, 1, 20, 31, 64, 64, 2, 150, 9, 12, 13, 90, 91, 17]
AT_ONCE = (len(IDS),)


@pytest.fixture(params=[{}, {"head_dim": 64, "num_key_value_heads": 1}, {"head_dim": 128, "tie_word_embeddings": True}])
def folder(request, tmp_path):
    """A checkpoint with random weights: heads of 16, 64 and 128, with and without shared key heads."""
    return save_llama(tmp_path / "base", rope_theta=1e6, **request.param)


def read(model, ids=IDS, parts=AT_ONCE):
    """Return the logits of every position, read in steps of these lengths."""
    kv = KVSession(model)
    kv.reserve(len(ids))
    logits, rest = [], list(ids)
    for count in parts:
        logits.append(model.forward(rest[:count], kv, every_position=True))
        del rest[:count]
    assert not rest
    assert kv.length == len(ids)
    return torch.cat(logits)


class Rounded(torch.nn.Module):
    """A linear layer that rounds its inputs as the library does: the largest of 32 becomes 127."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x):
        groups = x.unflatten(-1, (-1, 32))
        step = groups.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
        return torch.nn.functional.linear(((groups / step).round() * step).flatten(-2), self.weight)


def unpacked(folder, bits):
    """Return transformers' model with the library's weights and its rounding."""
    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    packed = dict(packed_weights.packed(inspect(folder), bits))
    for n, layer in enumerate(reference.model.layers):
        for path in MATRICES.values():
            parent, _, name = path.rpartition(".")
            weight = unpack(packed[f"model.layers.{n}.{path}.weight"], bits)
            setattr(layer.get_submodule(parent), name, Rounded(weight))
    reference.set_submodule("lm_head", Rounded(unpack(packed["lm_head.weight"], 8)))
    return reference


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_logits_equal_float32_of_the_same_weights(folder, form):
    """Equal up to activations that another order of summation moves to the next of 255 steps."""
    theirs = read(Llama(unpacked(folder, int(form[3:]))))
    ours = read(load(folder, form))
    assert ours.shape == theirs.shape
    assert (ours - theirs)[0].abs().max() < 1e-4
    assert (ours - theirs).square().mean().sqrt() < TIPPED * theirs.std()


@pytest.mark.parametrize("parts", [(1,) * 21, (8, 13), (17, 1, 3), (2, 19)])
def test_logits_do_not_depend_on_the_split(folder, parts):
    """Bit for bit: verifying a draft, reading a prompt in chunks, and decoding one by one."""
    model = load(folder, "int8")
    assert torch.equal(read(model, parts=parts), read(model))


def test_logits_do_not_depend_on_the_threads(folder):
    model = load(folder, "int4")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = read(model)
        torch.set_num_threads(3)
        assert torch.equal(read(model), one)
    finally:
        torch.set_num_threads(before)


def test_logits_of_the_last_position_unless_all_are_requested(folder):
    model = load(folder, "int8")
    kv = KVSession(model)
    kv.reserve(len(IDS))
    assert torch.equal(model.forward(IDS, kv), read(model)[-1:])


def test_adapter_equals_peft(folder, tmp_path):
    """Unmerged, on unrounded activations; the base stays unchanged."""
    lora = save_lora(tmp_path / "lora", LlamaForCausalLM.from_pretrained(folder))
    base = load(folder, "int8")
    plain = read(base)
    ours, theirs = read(with_adapter(base, lora)), read(with_adapter(Llama(unpacked(folder, 8)), lora))
    assert (ours - theirs)[0].abs().max() < 1e-4
    assert (ours - theirs).square().mean().sqrt() < TIPPED * theirs.std()
    assert (ours - plain).abs().max() > 0.1 * plain.std()
    assert torch.equal(read(base), plain)
    assert torch.equal(read(with_adapter(base, lora), parts=(1,) * 21), ours)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, "its positions are scaled"),
        ({"attention_bias": True}, "its matrices have biases"),
    ],
)
def test_unsupported_checkpoint_is_refused(tmp_path, change, why):
    folder = save_llama(tmp_path / "base")
    change_config(folder, **change)
    with pytest.raises(LoadError, match=why):
        load(folder, "int8")


def test_vocabulary_with_a_partial_block_is_refused(tmp_path):
    with pytest.raises(LoadError, match="not multiples of 16 x 32"):
        load(save_llama(tmp_path / "base", vocab_size=161), "int8")


def test_installed_checkpoint_is_packed_once_unless_damaged(folder):
    (folder / "manifest.json").write_text("{}")
    first = read(load(folder, "int8"))
    [kept] = [path for path in folder.iterdir() if path.name.startswith("int8-")]
    written = (kept / "weights.bin").stat().st_mtime_ns
    assert torch.equal(read(load(folder, "int8")), first)
    assert (kept / "weights.bin").stat().st_mtime_ns == written
    (kept / "index.json").write_text("{")
    assert torch.equal(read(load(folder, "int8")), first)
    assert (kept / "weights.bin").stat().st_mtime_ns > written


def test_packed_weights_of_another_shape_are_not_read(folder, tmp_path):
    """C checks no bounds, and the manifest only proves that the bytes are those written."""
    other = save_llama(tmp_path / "other", intermediate_size=64)
    for one in (folder, other):
        (one / "manifest.json").write_text("{}")
        load(one, "int8")
    [theirs], [ours] = other.glob("int8-*"), folder.glob("int8-*")
    shutil.rmtree(ours)
    theirs.rename(ours)
    assert read(load(folder, "int8")).isfinite().all()
    [again] = folder.glob("int8-*")
    assert manifest.files(manifest.read(again)) != {}
    with pytest.raises(LoadError, match="or it has another type or shape"):
        packed_weights.read(again, inspect(other), 8)


def test_engine_starts_without_transformers(folder):
    """Importing it takes longer than mapping the weights."""
    code = (
        "import sys; from pathlib import Path; from inference.models.loader import load; "
        f"load(Path({str(folder)!r}), 'int8'); print('transformers' in sys.modules, 'bitsandbytes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False False\n"
