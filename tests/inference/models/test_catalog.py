"""The catalogue: names, abilities, and every number compared with transformers on the meta device."""

import re

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from inference.models.catalog import (
    CATALOG,
    REVISIONS,
    STARTER,
    Model,
    UnknownModelError,
    find,
    why_no_chat,
    why_no_infill,
)

FAMILY = [model for model in CATALOG.values() if model is not STARTER]

PARAMETERS = {
    "codellama-7b": 6_738_546_688,
    "codellama-7b-python": 6_738_415_616,
    "codellama-7b-instruct": 6_738_546_688,
    "codellama-13b": 13_016_028_160,
    "codellama-13b-python": 13_015_864_320,
    "codellama-13b-instruct": 13_016_028_160,
    "codellama-34b": 33_743_970_304,
    "codellama-34b-python": 33_743_970_304,
    "codellama-34b-instruct": 33_743_970_304,
    "codellama-70b": 68_976_910_336,
    "codellama-70b-python": 68_976_910_336,
    "codellama-70b-instruct": 68_976_910_336,
}


def on_meta(model: Model) -> LlamaForCausalLM:
    """Build the architecture with transformers, without memory for its weights."""
    shape = model.shape
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def test_family_is_ordered_by_size_then_training():
    """Tables in this order start with models that fit a laptop."""
    assert list(CATALOG) == ["starter", *PARAMETERS]


@pytest.mark.parametrize("model", CATALOG.values(), ids=lambda model: model.id)
def test_parameters_and_bytes_equal_transformers(model: Model):
    """Linear layers in NF4 blocks of 64 with scales, the rest in 16 bits."""
    built = on_meta(model)
    quantised = {
        id(module.weight): module.weight.numel()
        for name, module in built.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    total = sum(parameter.numel() for parameter in built.parameters())  # tied weights are counted once
    linear = sum(quantised.values())
    assert model.shape.parameters == total
    assert model.shape.linear == linear
    assert model.shape.weight_bytes("fp32") == 4 * total
    assert model.shape.weight_bytes("bf16") == 2 * total
    assert model.shape.weight_bytes("nf4") == linear * (0.5 + 4 / 64) + 2 * (total - linear)
    nested = sum(-(-n // 64) + 4 * -(-n // 64 // 256) for n in quantised.values())
    assert model.shape.weight_bytes("nf4-double") == linear // 2 + nested + 2 * (total - linear)
    keys = built.get_parameter("model.layers.0.self_attn.k_proj.weight").shape[0]
    assert model.shape.kv_bytes_per_token() == 2 * len(built.model.layers) * keys * 2


@pytest.mark.parametrize("model", FAMILY, ids=lambda model: model.id)
def test_code_llamas_bytes_equal_the_papers_formula(model: Model):
    """No Code Llama matrix has a partial block, so the formula holds without rounding."""
    shape = model.shape
    linear = shape.layers * (2 * shape.hidden**2 + 2 * shape.hidden * shape.kv_heads * 128)
    linear += shape.layers * 3 * shape.hidden * shape.intermediate
    rest = 2 * shape.vocab * shape.hidden + (2 * shape.layers + 1) * shape.hidden
    assert shape.parameters == PARAMETERS[model.id]
    assert shape.weight_bytes("nf4") == linear * (0.5 + 4 / 64) + 2 * rest
    assert shape.weight_bytes("nf4-double") == linear * (0.5 + 1 / 64 + 4 / (64 * 256)) + 2 * rest


def test_seven_billion_in_bytes():
    """Known figures, so that formula and code can't both be wrong."""
    shape = find("codellama-7b").shape
    assert shape.weight_bytes("bf16") == 13_477_093_376  # 12.55 GiB, as in Meta's README
    assert shape.weight_bytes("nf4") == 4_167_835_648
    assert shape.weight_bytes("nf4-double") == 3_865_853_952
    assert shape.kv_bytes_per_token() == 524_288


def test_abilities_match_the_paper():
    """34B and Python were not trained to infill, and 70B Instruct descends from Python."""
    assert [m.id for m in FAMILY if m.infill] == [
        "codellama-7b",
        "codellama-7b-instruct",
        "codellama-13b",
        "codellama-13b-instruct",
        "codellama-70b",
    ]
    assert {m.id: m.chat for m in CATALOG.values() if m.chat} == {
        "starter": "chatml",
        "codellama-7b-instruct": "llama",
        "codellama-13b-instruct": "llama",
        "codellama-34b-instruct": "llama",
        "codellama-70b-instruct": "step",
    }


def test_all_but_the_short_70b_models_extrapolate_to_100k():
    """Two models kept theta 1e4 and 4,096 positions; all others were trained at 16,384 with theta 1e6."""
    short = {"codellama-70b-python", "codellama-70b-instruct"}
    contexts = {m.id: (m.context, m.usable_context, m.shape.rope_theta) for m in FAMILY}
    assert contexts == {i: (4096, 4096, 1e4) if i in short else (16_384, 100_000, 1e6) for i in PARAMETERS}


def test_models_that_infill_have_rows_for_the_sentinels():
    """The sentinels are ids 32007 to 32010; a smaller embedding would be read out of bounds."""
    assert {m.shape.vocab for m in FAMILY if m.infill} == {32_016}
    assert {m.shape.vocab for m in FAMILY if not m.infill and "70b" not in m.id} == {32_000}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("codellama-7b", "codellama-7b"),
        (" CodeLlama-7B-Python ", "codellama-7b-python"),
        ("codellama/CodeLlama-13b-Instruct-hf", "codellama-13b-instruct"),
        ("CODELLAMA/codellama-70b-HF", "codellama-70b"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "starter"),
    ],
)
def test_models_are_found_by_id_and_hub_id_in_any_case(name: str, found: str):
    """Users copy names from hub pages, and type them in any case."""
    assert find(name).id == found


def test_every_model_is_found_by_its_own_names():
    """No two models share a name."""
    assert [find(m.id) for m in CATALOG.values()] == [find(m.hub) for m in CATALOG.values()] == list(CATALOG.values())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("codelama-7b", "There is no model 'codelama-7b'. Did you mean codellama-7b?"),
        (
            "CodeLlama-13b-Instruct-hf",
            "There is no model 'CodeLlama-13b-Instruct-hf'. Did you mean codellama-13b-instruct?",
        ),
        ("zzz", "There is no model 'zzz'. `codellama-ls models` lists the known models."),
    ],
)
def test_unknown_name_suggests_the_nearest(name: str, sentence: str):
    """Only a near name is suggested; others would mislead."""
    with pytest.raises(UnknownModelError) as error:
        find(name)
    assert str(error.value) == sentence


def test_missing_ability_has_a_message():
    assert why_no_infill(find("codellama-34b")) == (
        "codellama-34b was not trained to infill. It completes from the text before the cursor only."
    )
    assert why_no_chat(find("codellama-7b")) == (
        "codellama-7b was not trained to chat. Choose codellama-7b-instruct for chat."
    )
    assert why_no_infill(find("codellama-7b-instruct")) is None
    assert why_no_chat(find("codellama-7b-instruct")) is None


@pytest.mark.parametrize("model", [m for m in CATALOG.values() if not m.chat], ids=lambda model: model.id)
def test_suggested_chat_model_can_chat(model: Model):
    """The advice must not lead to a second refusal."""
    sentence = why_no_chat(model)
    assert sentence is not None
    named = sentence.split("Choose ")[1].split(" ")[0]
    assert CATALOG[named].chat
    assert CATALOG[named].shape.layers == model.shape.layers


def test_every_licence_has_a_link():
    """Weights under Meta's licence come with an acceptable-use policy, the starter's without one."""
    assert {(m.licence, bool(m.policy_url)) for m in FAMILY} == {("Llama 2 Community License", True)}
    assert (STARTER.licence, STARTER.policy_url) == ("Apache-2.0", None)
    assert all(m.licence_url.startswith("https://") for m in CATALOG.values())


def test_pinned_revisions_are_commits_of_the_family():
    hubs = {model.hub: model.revision for model in FAMILY}
    assert set(REVISIONS) <= set(hubs)
    assert all(hubs[hub] == commit and re.fullmatch("[0-9a-f]{40}", commit) for hub, commit in REVISIONS.items())
