"""Shapes read from config.json."""

import json
from pathlib import Path

import pytest
from transformers import LlamaConfig

from inference.models.catalog import find
from inference.models.shape import Shape, ShapeError

SEVEN = find("codellama-7b").shape

OLD = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 16384,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "rope_theta": 1000000,
    "vocab_size": 32016,
}
"""The hub's config.json of 7B, written by transformers 4."""


def test_config_of_transformers_4_is_read():
    """head_dim is missing; it follows from hidden size and heads."""
    assert Shape.from_config(OLD) == SEVEN


def test_config_of_transformers_5_is_read(tmp_path: Path):
    """rope_theta is inside rope_parameters."""
    LlamaConfig(**OLD).save_pretrained(tmp_path)
    assert "rope_theta" not in json.loads((tmp_path / "config.json").read_text())
    assert Shape.from_folder(tmp_path) == SEVEN


def test_missing_fields_take_the_architectures_defaults():
    """Llama 1 configurations lack KV heads, theta and tying."""
    config = {k: v for k, v in OLD.items() if k not in ("num_key_value_heads", "rope_theta", "max_position_embeddings")}
    shape = Shape.from_config(config)
    assert (shape.kv_heads, shape.rope_theta, shape.positions, shape.tied) == (32, 10_000, 2048, False)


def test_tied_embeddings_are_counted_once():
    """The starter's head is its embedding."""
    tied = Shape.from_config({**OLD, "tie_word_embeddings": True})
    assert SEVEN.parameters - tied.parameters == 32_016 * 4096


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "gpt2"}, "This checkpoint is a gpt2 model; only Llama models can be loaded."),
        (
            {"hidden_size": "wide"},
            "The checkpoint's config.json can't be understood (invalid literal for int() with base 10: 'wide'); "
            "pull it again.",
        ),
    ],
)
def test_other_architectures_are_refused(change: dict, sentence: str):
    with pytest.raises(ShapeError) as error:
        Shape.from_config({**OLD, **change})
    assert str(error.value) == sentence


def test_missing_field_is_named():
    """For example in a truncated config.json."""
    with pytest.raises(ShapeError, match=r"has no num_hidden_layers; pull it again\.$"):
        Shape.from_config({k: v for k, v in OLD.items() if k != "num_hidden_layers"})


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_broken_config_is_refused(tmp_path: Path, content: str | None):
    """Missing, truncated, or not an object."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ShapeError, match=r"config\.json .*pull the model again\.$"):
        Shape.from_folder(tmp_path)
