"""The planner: what is counted, how context is dealt out, what is refused and with which words."""

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
from inference.planning.choice import choose
from inference.planning.planner import BLOCK, RESERVED, WANTED, Choice, DoesNotFitError, amount, least, plan
from inference.system.machine import Device

GIB = 1 << 30
MIB = 1 << 20
BOTH: tuple[Role, ...] = ("completion", "chat")


def gpu(gib: float) -> Device:
    return Device("cuda", "Testing GPU", 80 * GIB, int(gib * GIB))


def cpu(gib: float, *, repacks: bool = False) -> Device:
    return Device("cpu", "CPU memory", 80 * GIB, int(gib * GIB), repacks)


def both(form: Format = "nf4", name: str = "codellama-7b-instruct") -> list[Choice]:
    return [choose(find(name), BOTH, form)]


def named(planned) -> dict[str, int]:
    return {item.name: item.bytes for item in planned.items}


def test_seven_billion_on_a_gpu_item_by_item():
    """Every figure by hand: 7B in NF4, both roles at their reserved 2,048 tokens."""
    assert named(least(both(), gpu(8))) == {
        "weights of codellama-7b-instruct (nf4)": 4_167_835_648,
        "KV cache for completion, 2,048 tokens": 2048 * 524_288,
        "KV cache for chat, 2,048 tokens": 2048 * 524_288,
        "activations of 512 tokens": 512 * 2 * (5 * 4096 + 3 * 11_008) + 512 * 2048,
        "logits": 16 * 32_016 * 6,
        "working copy of a matrix": 2 * 11_008 * 4096,
        "kept by the allocator": 128 * MIB,
        "CUDA context": 512 * MIB,
    }


def test_torchs_cuda_build_takes_more_of_a_cpus_memory():
    builds = [replace(cpu(40), cuda_libraries=cuda) for cuda in (False, True)]
    taken = [named(least(both(), device))["process and libraries"] for device in builds]
    assert taken == [320 * MIB, 464 * MIB]


def test_a_smaller_chunk_needs_smaller_activations():
    """The chunk is chosen by measurement, so its cost must be planned, not assumed."""
    assert named(least(both(), gpu(8), chunk=64))["activations of 64 tokens"] == 64 * 2 * (20_480 + 33_024) + 64 * 2048


def test_lines_name_every_item_and_sum():
    """What is printed before loading is what was counted."""
    planned = least([choose(find("codellama-7b"), ("completion",))], gpu(8))
    assert planned.lines() == [
        ("weights of codellama-7b (nf4)", "3.88 GiB"),
        ("KV cache for completion, 2,048 tokens", "1.00 GiB"),
        ("activations of 512 tokens (passing)", "53 MiB"),
        ("logits (passing)", "3 MiB"),
        ("working copy of a matrix (passing)", "86 MiB"),
        ("kept by the allocator (passing)", "128 MiB"),
        ("CUDA context", "512 MiB"),
        ("between requests", "5.38 GiB"),
        ("at most", "5.65 GiB"),
        ("left", "2.35 GiB"),
        ("context for completion (codellama-7b)", "2,048 tokens"),
    ]


def test_between_requests_only_what_lasts_is_counted():
    """Activations, logits and working copies are given back; weights, caches and the process stay."""
    planned = least(both(), gpu(8))
    passing = [i for i in planned.items if not i.lasting]
    assert [i.name.split()[0] for i in passing] == ["activations", "logits", "working", "kept"]
    assert planned.peak - planned.resident == sum(i.bytes for i in passing)


def test_one_model_for_both_roles_is_loaded_once():
    """Its weights are shared; its caches are not."""
    one = least(both(), gpu(80))
    two = least(
        [choose(find("codellama-7b"), ("completion",)), choose(find("codellama-7b-instruct"), ("chat",))], gpu(80)
    )
    assert two.peak - one.peak == 4_167_835_648


def test_a_cpu_that_repacks_keeps_bfloat16_scales_and_forgets_double_quantisation():
    """bitsandbytes flattens nested scales at the first forward pass, so nothing is saved where it repacks."""
    shape = find("codellama-7b").shape
    repacked = shape.linear // 2 + 2 * shape.linear // 64 + 2 * shape.unquantised
    for form in ("nf4", "nf4-double"):
        weights = least(both(form), cpu(32, repacks=True)).items[0].bytes
        assert weights == repacked


def test_a_cpu_without_bfloat16_computes_in_float32():
    """What NF4 does not quantise, the cache and the working copy are twice as large there as on a GPU."""
    shape = find("codellama-7b").shape
    for form in ("nf4", "nf4-double"):
        items = named(least(both(form), cpu(32)))
        weights = shape.weight_bytes(form) + 2 * shape.unquantised
        assert items[f"weights of codellama-7b-instruct ({form})"] == weights
        assert items["KV cache for chat, 2,048 tokens"] == 2048 * 2 * 524_288
        assert items["activations of 512 tokens"] == 512 * 4 * (5 * 4096 + 3 * 11_008) + 512 * 2048


def test_weights_that_stay_in_files_are_an_item_of_their_own():
    """They are resident too, but the system can drop them: a person looking at anonymous memory must find the sum."""
    whole = choose(find("codellama-7b"), ("completion",))
    split = replace(whole, mapped=3 * GIB)
    one, two = least([whole], cpu(32)), least([split], cpu(32))
    assert named(two)["weights of codellama-7b (nf4), mapped from its files"] == 3 * GIB
    assert (two.resident, two.peak) == (one.resident, one.peak)
    assert (one.anonymous, two.anonymous) == (one.resident, one.resident - 3 * GIB)
    assert ("of that anonymous", amount(two.anonymous)) in two.lines()


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
def test_the_working_copy_is_of_the_largest_matrix(form: Format, device: Device, weight_bytes: float):
    """Dequantised to what is computed in (with its scales), or unpacked to be rewritten; others need none."""
    assert named(least(both(form), device))["working copy of a matrix"] == 11_008 * 4096 * weight_bytes


def test_float32_doubles_the_cache():
    """Keys and values are kept in the activations' precision."""
    single, half = (named(least(both(f), cpu(80)))["KV cache for chat, 2,048 tokens"] for f in ("fp32", "bf16"))
    assert single == 2 * half == 2048 * 2 * 524_288


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kv_heads", [8, 1])
@pytest.mark.parametrize(("chunk", "context"), [(512, 512), (512, 4096), (128, 2048)])
def test_activations_and_logits_bound_the_forward_pass(dtype: torch.dtype, kv_heads: int, chunk: int, context: int):
    """What torch really allocates in one prefill chunk is planned, and planned without much waste."""
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
    """The most bytes alive at once, of those allocated while recording."""
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, alive)
    return peak


def test_context_is_dealt_out_by_turns_completion_first():
    """Both slots are reserved before either grows; then the shorter grows, completion first."""
    need = least(both(), gpu(80)).peak
    block = BLOCK * (524_288 + 512)  # a block's keys and values, and its columns of the mask
    dealt = []
    for blocks in range(5):
        free = need + blocks * block
        planned = plan(both(), Device("cuda", "Testing GPU", 80 * GIB, free))
        dealt.append((planned.context("completion"), planned.context("chat")))
    assert dealt == [(2048, 2048), (2560, 2048), (2560, 2560), (3072, 2560), (3072, 3072)]


def test_blocks_are_those_in_which_caches_grow():
    """Else a slot could be given tokens that its buffers can't hold without one more block."""
    assert BLOCK == GROWTH


def test_context_stops_at_what_is_wanted_and_at_the_models_limit():
    """More memory is left free rather than promised to a cache that gains nothing."""
    planned = plan(both(), gpu(80))
    assert (planned.context("completion"), planned.context("chat")) == (WANTED["completion"], WANTED["chat"])
    short = plan([choose(find("codellama-70b-instruct"), ("chat",))], gpu(80))
    assert short.context("chat") == 4096
    longer = plan([choose(find("codellama-34b"), ("completion",))], gpu(80), wanted={"completion": 200_000})
    assert longer.context("completion") == 100_000


def test_a_role_without_a_model_gets_nothing():
    """Completion alone is a common choice."""
    assert plan([choose(find("codellama-7b"), ("completion",))], gpu(80)).context("chat") == 0


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [choose(find("codellama-7b"), ("completion",)), choose(find("starter"), ("completion",))],
        [choose(find("starter"), ("completion",)), choose(find("starter"), ("chat",))],
    ],
)
def test_each_role_has_one_model_and_each_model_comes_once(choices: list[Choice]):
    """A caller's mistake, not a user's."""
    with pytest.raises(ValueError, match="at least one role"):
        plan(choices, gpu(80))


CHOICES = st.one_of(
    st.builds(lambda m, f: [choose(m, BOTH, f)], st.sampled_from(list(CATALOG.values())), st.sampled_from(FORMATS)),
    st.builds(
        lambda a, b, f: [choose(a, ("completion",), f), choose(b, ("chat",), f)],
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
def test_a_plan_never_exceeds_what_is_free_nor_breaks_a_reservation(choices, device, chunk):
    """Or it is refused, and then the reserved slots alone exceed it."""
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
    """Otherwise closing a program could take context away."""
    larger = Device(device.kind, device.name, device.total, device.free + more, device.repacks)
    try:
        before = plan(choices, device)
    except DoesNotFitError:
        return
    after = plan(choices, larger)
    assert all(after.context(role) >= before.context(role) for role in BOTH)


def test_amounts_are_rounded_so_that_no_sentence_contradicts_itself():
    """'Needs 8.00 GiB, but has 8.00 GiB' would help nobody."""
    assert amount(8 * GIB + 1, rounding=lambda x: -int(-x // 1)) == "8.01 GiB"
    with pytest.raises(DoesNotFitError) as error:
        need = least(both(), gpu(80)).peak
        plan(both(), Device("cuda", "Testing GPU", 80 * GIB, need - 1))
    assert str(error.value).endswith("needs 6.65 GiB, but Testing GPU has 6.64 GiB free")
