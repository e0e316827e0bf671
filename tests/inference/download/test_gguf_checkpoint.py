"""GGUF conversion, compared with transformers' reading of the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.tiny_gguf import INNER, PIECES, write_gguf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaForCausalLM

from inference.commands.pull_command import SENTINELS
from inference.download.gguf_checkpoint import GGUFError, convert, hugging_face_name
from inference.text.tokenizer import ByteLevelTokenizer
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX


def ignore(done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def converted(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    convert(gguf, folder, ignore)
    return folder


def read_by_transformers(gguf: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=dtype
    )


def differing_weights(folder: Path, reference: LlamaForCausalLM) -> list[str]:
    ours, theirs = load_file(folder / "model.safetensors"), dict(reference.named_parameters())
    assert ours.keys() == theirs.keys()
    return [name for name, weight in theirs.items() if not torch.equal(ours[name], weight)]


def test_weights_equal_those_that_transformers_reads(gguf: Path, converted: Path) -> None:
    """Q4_1, Q8_0 and float32 tensors, the order of query and key rows, and a tied output head."""
    assert differing_weights(converted, read_by_transformers(gguf, torch.bfloat16)) == []


def test_config_is_converted(converted: Path) -> None:
    assert json.loads((converted / "config.json").read_text()) == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 265,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "dtype": "bfloat16",
    }


def test_untied_output_head_is_kept(tmp_path: Path) -> None:
    """A file with an output matrix is not tied, whatever the matrix holds."""
    convert(write_gguf(tmp_path / "tiny.gguf", extra_tensor="output.weight"), tmp_path, ignore)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    assert "lm_head.weight" in load_file(tmp_path / "model.safetensors")


def test_progress_counts_every_parameter_once(gguf: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(gguf, tmp_path, lambda done, total: seen.append((done, total)))
    parameters = 265 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * INNER * 64 + 2 * 64) + 64
    assert seen[-1] == (parameters, parameters)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_digits_are_split_before_merges(gguf: Path, converted: Path) -> None:
    """SmolLM's pre-tokenizer splits digits; transformers' conversion of the same file omits that step."""
    transformers_ids = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)("he12")["input_ids"]
    ours = ByteLevelTokenizer(converted).encode("he12")
    assert [PIECES[i] for i in transformers_ids] == ["he", "12"]
    assert [PIECES[i] for i in ours] == ["he", "1", "2"]


def test_text_never_becomes_a_control_token(converted: Path) -> None:
    tokenizer = ByteLevelTokenizer(converted)
    assert [tokenizer.control_id(piece) for piece in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] == [0, 1, 2]
    ids = tokenizer.encode("<|im_start|>")
    assert min(ids) > 2
    assert b"".join(map(tokenizer.piece_bytes, ids)) == b"<|im_start|>"


def test_control_tokens_can_be_renamed(gguf: Path, tmp_path: Path) -> None:
    """Unused control tokens become Code Llama's sentinels and keep their ids."""
    convert(gguf, tmp_path, ignore, SENTINELS)
    tokenizer = ByteLevelTokenizer(tmp_path)
    names = [PREFIX, SUFFIX, MIDDLE, END_OF_INFILL]
    assert [tokenizer.control_id(name) for name in names] == [PIECES.index(piece) for piece in SENTINELS]
    assert [tokenizer.control_id(piece) for piece in SENTINELS] == [None] * 4
    text = "".join((*names, *SENTINELS))
    ids = tokenizer.encode(text)
    assert b"".join(map(tokenizer.piece_bytes, ids)) == text.encode()
    assert not {tokenizer.control_id(name) for name in names} & set(ids)
    assert AutoTokenizer.from_pretrained(tmp_path)(MIDDLE)["input_ids"] == [tokenizer.control_id(MIDDLE)]


def test_only_control_tokens_can_be_renamed(gguf: Path, tmp_path: Path) -> None:
    """Merges refer to all other pieces by name."""
    with pytest.raises(GGUFError) as error:
        convert(gguf, tmp_path, ignore, {"he": "she"})
    assert str(error.value) == "The file's vocabulary has no control token he."


def test_transformers_loads_the_same_tokenizer(converted: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert tokenizer("<|im_start|>he12<|im_end|>")["input_ids"] == [1, PIECES.index("he"), *_ids("12"), 2]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")


def _ids(characters: str) -> list[int]:
    return [PIECES.index(character) for character in characters]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.31.attn_output.weight", "model.layers.31.self_attn.o_proj.weight"),
    ],
)
def test_hugging_face_names_of_tensors(name: str, expected: str) -> None:
    assert hugging_face_name(name) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"architecture": "phi3"}, "The file holds a model of the architecture 'phi3'; only 'llama' can be converted."),
        (
            {"pre": "llama-bpe"},
            "The file's tokenizer is of the type gpt2/llama-bpe; only gpt2/smollm can be converted.",
        ),
        (
            {"extra_tensor": "blk.0.attn_q.bias"},
            "The file holds the tensor blk.0.attn_q.bias, which is not part of a Llama checkpoint.",
        ),
    ],
)
def test_file_that_cannot_be_converted_exactly_is_rejected(
    tmp_path: Path, options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(GGUFError) as error:
        convert(write_gguf(tmp_path / "other.gguf", **options), tmp_path, ignore)
    assert str(error.value) == sentence


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, 20000])
def test_truncated_file_is_rejected(gguf: Path, tmp_path: Path, keep: int) -> None:
    """Truncated in the magic, the metadata, the tokenizer or the weights."""
    (tmp_path / "cut.gguf").write_bytes(gguf.read_bytes()[:keep])
    with pytest.raises(GGUFError, match=r"cut\.gguf is not a readable GGUF file"):
        convert(tmp_path / "cut.gguf", tmp_path, ignore)


@pytest.mark.starter
@pytest.mark.slow
def test_starter_equals_what_transformers_reads(bare_starter_folder: Path, starter_gguf: Path) -> None:
    """All 134,515,008 weights bit for bit, and the logits."""
    reference = read_by_transformers(starter_gguf, torch.bfloat16)
    assert differing_weights(bare_starter_folder, reference) == []
    ours = LlamaForCausalLM.from_pretrained(bare_starter_folder, dtype=torch.float32)
    assert sum(weight.numel() for weight in ours.parameters()) == 134_515_008
    ids = torch.arange(1000, 1064)[None]
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, reference.float()(ids).logits, rtol=0, atol=1e-3)


@pytest.mark.starter
@pytest.mark.slow
def test_starter_splits_numbers_from_indentation(bare_starter_folder: Path, starter_gguf: Path) -> None:
    """Without the step that splits digits, transformers' conversion tokenizes differently than in training.

    The vocabulary has no number of two digits, so the difference is in the white space: without that step the last
    space of an indentation merges with the number, as it does with a word.
    """
    text = "x = [\n    12,\n]"
    tokenizer = ByteLevelTokenizer(bare_starter_folder)
    ours = tokenizer.encode(text)
    theirs = AutoTokenizer.from_pretrained(starter_gguf.parent, gguf_file=starter_gguf.name)(text)["input_ids"]
    pieces = [[tokenizer.piece_bytes(i).decode() for i in ids][3:-3] for ids in (ours, theirs)]
    assert pieces == [["\n    ", "1", "2"], ["\n   ", " ", "1", "2"]]


@pytest.mark.starter
def test_starter_sentinels_have_the_ids_of_the_adapter(bare_starter_folder: Path) -> None:
    tokenizer = ByteLevelTokenizer(bare_starter_folder)
    assert [tokenizer.control_id(name) for name in (PREFIX, SUFFIX, MIDDLE, END_OF_INFILL)] == [8, 9, 10, 16]
