"""The planner: items, the distribution of context, refusals and their messages."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from inference.models.catalog import CATALOG, Role, find
from inference.models.language_model import GROWTH, KVSession
from inference.models.llama import Llama
from inference.models.shape import FORMATS, Format, Shape
from inference.planning.alternatives import catalog_choice
from inference.planning.planner import (
    BLOCK,
    RESERVED,
    WANTED,
    Choice,
    DoesNotFitError,
    format_bytes,
    plan,
    smallest_plan,
)
from inference.system.machine import Device

GIB = 1 << 30
MIB = 1 << 20
BOTH: tuple[Role, ...] = ("completion", "chat")


def gpu(gib: float) -> Device:
    return Device("cuda", "Testing GPU", 80 * GIB, int(gib * GIB))


def cpu(gib: float, *, repacks: bool = False) -> Device:
    return Device("cpu", "CPU memory", 80 * GIB, int(gib * GIB), repacks)


def both(form: Format = "nf4", name: str = "codellama-7b-instruct") -> list[Choice]:
    return [catalog_choice(find(name), BOTH, form)]


def named(planned) -> dict[str, int]:
    return {item.name: item.bytes for item in planned.items}


def test_items_of_7b_on_a_gpu():
    """7B in NF4, both roles with their reserved 2,048 tokens. All figures are computed by hand."""
    assert named(smallest_plan(both(), gpu(8))) == {
        "weights of codellama-7b-instruct (nf4)": 4_167_835_648,
        "KV cache for completion, 2,048 tokens": 2048 * 524_288,
        "KV cache for chat, 2,048 tokens": 2048 * 524_288,
        "activations of 512 tokens": 512 * 2 * (5 * 4096 + 3 * 11_008) + 512 * 2048,
        "logits": 16 * 32_016 * 6,
        "working copy of a matrix": 2 * 11_008 * 4096,
        "kept by the allocator": 128 * MIB,
        "CUDA context": 512 * MIB,
    }


def test_cuda_build_of_torch_needs_more_memory_on_a_cpu():
    builds = [replace(cpu(40), cuda_libraries=cuda) for cuda in (False, True)]
    taken = [named(smallest_plan(both(), device))["process and libraries"] for device in builds]
    assert taken == [320 * MIB, 464 * MIB]


def test_smaller_chunk_needs_smaller_activations():
    """The chunk size is chosen by measurement, so the plan must depend on it."""
    assert (
        named(smallest_plan(both(), gpu(8), chunk=64))["activations of 64 tokens"]
        == 64 * 2 * (20_480 + 33_024) + 64 * 2048
    )


def test_lines_have_every_item_and_sum():
    planned = smallest_plan([catalog_choice(find("codellama-7b"), ("completion",))], gpu(8))
    assert planned.lines() == [
        ("weights of codellama-7b (nf4)", "3.88 GiB"),
        ("KV cache for completion, 2,048 tokens", "1.00 GiB"),
        ("activations of 512 tokens (transient)", "53 MiB"),
        ("logits (transient)", "3 MiB"),
        ("working copy of a matrix (transient)", "86 MiB"),
        ("kept by the allocator (transient)", "128 MiB"),
        ("CUDA context", "512 MiB"),
        ("between requests", "5.38 GiB"),
        ("peak", "5.65 GiB"),
        ("left free", "2.35 GiB"),
        ("context for completion (codellama-7b)", "2,048 tokens"),
    ]


def test_transient_items_are_not_resident():
    """Activations, logits and working copies are freed. Weights, caches and the process stay."""
    planned = smallest_plan(both(), gpu(8))
    transient = [i for i in planned.items if not i.lasting]
    assert [i.name.split()[0] for i in transient] == ["activations", "logits", "working", "kept"]
    assert planned.peak - planned.resident == sum(i.bytes for i in transient)


def test_weights_of_one_model_for_both_roles_count_once():
    """The roles share the weights, not the KV caches."""
    one = smallest_plan(both(), gpu(80))
    two = smallest_plan(
        [
            catalog_choice(find("codellama-7b"), ("completion",)),
            catalog_choice(find("codellama-7b-instruct"), ("chat",)),
        ],
        gpu(80),
    )
    assert two.peak - one.peak == 4_167_835_648


def test_double_quantisation_saves_nothing_on_a_repacking_cpu():
    """bitsandbytes flattens nested scales to bfloat16 at the first forward pass."""
    shape = find("codellama-7b").shape
    repacked = shape.linear // 2 + 2 * shape.linear // 64 + 2 * shape.unquantised
    for form in ("nf4", "nf4-double"):
        weights = smallest_plan(both(form), cpu(32, repacks=True)).items[0].bytes
        assert weights == repacked


def test_cpu_without_bfloat16_computes_in_float32():
    """Unquantised weights, the KV cache and the working copy are twice as large as on a GPU."""
    shape = find("codellama-7b").shape
    for form in ("nf4", "nf4-double"):
        items = named(smallest_plan(both(form), cpu(32)))
        weights = shape.weight_bytes(form) + 2 * shape.unquantised
        assert items[f"weights of codellama-7b-instruct ({form})"] == weights
        assert items["KV cache for chat, 2,048 tokens"] == 2048 * 2 * 524_288
        assert items["activations of 512 tokens"] == 512 * 4 * (5 * 4096 + 3 * 11_008) + 512 * 2048


def test_mapped_weights_are_a_separate_item():
    """They are resident, but the system can drop them. The anonymous memory is printed separately."""
    whole = catalog_choice(find("codellama-7b"), ("completion",))
    split = replace(whole, mapped=3 * GIB)
    one, two = smallest_plan([whole], cpu(32)), smallest_plan([split], cpu(32))
    assert named(two)["weights of codellama-7b (nf4), mapped from its files"] == 3 * GIB
    assert (two.resident, two.peak) == (one.resident, one.peak)
    assert (one.anonymous, two.anonymous) == (one.resident, one.resident - 3 * GIB)
    assert ("of that, anonymous", format_bytes(two.anonymous)) in two.lines()


@pytest.mark.parametrize(
    ("form", "device", "weight_bytes"),
    [
        ("nf4", gpu(80), 2),
        ("nf4-double", gpu(80), 2 + 4 / 64),
        ("nf4", cpu(80), 4),
        ("nf4-double", cpu(80), 4 + 4 / 64),
        ("nf4", cpu(80, repacks=True), 6.5),
        ("bf16", gpu(80), 0),
        ("fp32", cpu(80, repacks=True), 0),
    ],
)
def test_working_copy_holds_the_largest_matrix(form: Format, device: Device, weight_bytes: float):
    """Dequantised to the compute type with its scales, or unpacked for repacking. Other formats need none."""
    assert named(smallest_plan(both(form), device))["working copy of a matrix"] == 11_008 * 4096 * weight_bytes


def test_float32_doubles_the_kv_cache():
    single, half = (named(smallest_plan(both(f), cpu(80)))["KV cache for chat, 2,048 tokens"] for f in ("fp32", "bf16"))
    assert single == 2 * half == 2048 * 2 * 524_288


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kv_heads", [8, 1])
@pytest.mark.parametrize(("chunk", "context"), [(512, 512), (512, 4096), (128, 2048)])
def test_activations_and_logits_bound_the_forward_pass(dtype: torch.dtype, kv_heads: int, chunk: int, context: int):
    """The plan covers what torch allocates in one prefill chunk, and exceeds it by at most half."""
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=kv_heads,
    )
    loaded = LlamaForCausalLM(config).eval()
    session = KVSession(Llama(loaded.bfloat16() if dtype == torch.bfloat16 else loaded))
    session.reserve(context)
    session.length = context - chunk
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        session.model.forward([5] * chunk, session)
    form: Format = "bf16" if dtype == torch.bfloat16 else "fp32"
    choice = Choice("miniature", Shape.from_config(config.to_dict()), ("completion",), form, context)
    items = named(plan([choice], cpu(8), chunk=chunk, wanted={"completion": context}))
    planned = items[f"activations of {chunk} tokens"] + items["logits"]
    assert peak_bytes(recorded) <= planned <= 1.5 * peak_bytes(recorded)


def peak_bytes(recorded: profile) -> int:
    """Return the peak of the bytes allocated while recording."""
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, alive)
    return peak


def test_roles_get_blocks_in_turn_completion_first():
    """Both contexts are reserved before either grows."""
    need = smallest_plan(both(), gpu(80)).peak
    block = BLOCK * (524_288 + 512)  # keys and values of a block, and its columns of the mask
    contexts = []
    for blocks in range(5):
        free = need + blocks * block
        planned = plan(both(), Device("cuda", "Testing GPU", 80 * GIB, free))
        contexts.append((planned.context("completion"), planned.context("chat")))
    assert contexts == [(2048, 2048), (2560, 2048), (2560, 2560), (3072, 2560), (3072, 3072)]


def test_block_is_the_unit_in_which_kv_caches_grow():
    """Otherwise a planned context might need one block more than planned."""
    assert BLOCK == GROWTH


def test_context_is_limited_by_the_wanted_tokens_and_the_model():
    """The rest of the memory stays free."""
    planned = plan(both(), gpu(80))
    assert (planned.context("completion"), planned.context("chat")) == (WANTED["completion"], WANTED["chat"])
    short = plan([catalog_choice(find("codellama-70b-instruct"), ("chat",))], gpu(80))
    assert short.context("chat") == 4096
    longer = plan([catalog_choice(find("codellama-34b"), ("completion",))], gpu(80), wanted={"completion": 200_000})
    assert longer.context("completion") == 100_000


def test_role_without_a_model_gets_no_context():
    assert plan([catalog_choice(find("codellama-7b"), ("completion",))], gpu(80)).context("chat") == 0


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [catalog_choice(find("codellama-7b"), ("completion",)), catalog_choice(find("starter"), ("completion",))],
        [catalog_choice(find("starter"), ("completion",)), catalog_choice(find("starter"), ("chat",))],
    ],
)
def test_duplicate_role_or_model_raises_value_error(choices: list[Choice]):
    """Such choices are a bug in the caller."""
    with pytest.raises(ValueError, match="at least one role"):
        plan(choices, gpu(80))


CHOICES = st.one_of(
    st.builds(
        lambda m, f: [catalog_choice(m, BOTH, f)], st.sampled_from(list(CATALOG.values())), st.sampled_from(FORMATS)
    ),
    st.builds(
        lambda a, b, f: [catalog_choice(a, ("completion",), f), catalog_choice(b, ("chat",), f)],
        st.sampled_from([m for m in CATALOG.values() if not m.chat]),
        st.sampled_from([m for m in CATALOG.values() if m.chat]),
        st.sampled_from(FORMATS),
    ),
)
DEVICES = st.builds(
    lambda kind, free, repacks: Device(kind, "any", 400 * GIB, free, repacks),
    st.sampled_from(["cuda", "cpu"]),
    st.integers(0, 400 * GIB),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(CHOICES, DEVICES, st.integers(1, 2048))
def test_plan_fits_and_holds_the_reserved_contexts(choices, device, chunk):
    """A plan is refused only if the reserved contexts alone exceed the free memory."""
    try:
        planned = plan(choices, device, chunk=chunk)
    except DoesNotFitError as refusal:
        assert refusal.smallest.peak > device.free
        assert {slot.role: slot.tokens for slot in refusal.smallest.slots} == RESERVED
    else:
        assert planned.resident <= planned.peak <= device.free
        assert all(planned.context(role) >= RESERVED[role] for role in BOTH)


@settings(max_examples=75, deadline=None)
@given(CHOICES, DEVICES, st.integers(0, 20 * GIB))
def test_more_free_memory_never_means_less_context(choices, device, more):
    """Otherwise closing another program could shorten the context."""
    larger = Device(device.kind, device.name, device.total, device.free + more, device.repacks)
    try:
        before = plan(choices, device)
    except DoesNotFitError:
        return
    after = plan(choices, larger)
    assert all(after.context(role) >= before.context(role) for role in BOTH)


def test_needed_memory_is_rounded_up_and_free_memory_down():
    """Otherwise a message might say that a model needs 8.00 GiB and 8.00 GiB are free."""
    assert format_bytes(8 * GIB + 1, rounding=lambda x: -int(-x // 1)) == "8.01 GiB"
    with pytest.raises(DoesNotFitError) as error:
        need = smallest_plan(both(), gpu(80)).peak
        plan(both(), Device("cuda", "Testing GPU", 80 * GIB, need - 1))
    assert str(error.value).endswith("needs 6.65 GiB, but Testing GPU has 6.64 GiB free.")
