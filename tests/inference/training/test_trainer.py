"""Training changes only the adapter, resumes exactly after a kill, and reduces the loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.tiny_lesson import install_tiny, write_repository

from inference.models import store
from inference.models.adapter_files import AdapterError
from inference.models.loader import FormatOrAuto, read_transformers
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.source_files import read_sources
from inference.training import peft_adapter
from inference.training.examples import Batches
from inference.training.heldout import token_losses
from inference.training.recipe import MAX_PASS_TOKENS, Recipe
from inference.training.trainer import Trainer, TrainingRun, find_checkpoint, rate_factor, split_into_passes

RECIPE = Recipe(rank=4, alpha=8, learning_rate=1e-2, batch=4, shortest=24, longest=80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lesson")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(root / "models"))
        return install_tiny()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("code") / "repository")


def trainer(
    folder: Path, repository: Path, steps: int, weights: FormatOrAuto = "fp32", new: tuple[int, ...] = ()
) -> Trainer:
    model = peft_adapter.attach(read_transformers(folder, weights, "cpu"), RECIPE, new)
    batches = Batches(read_sources([repository]).files, load_tokenizer(folder), RECIPE)
    return Trainer(model, batches, RECIPE, TrainingRun(steps))


def all_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, weight in before.items() if not torch.equal(weight, after[name])}


@pytest.mark.parametrize("weights", ["fp32", "bf16", "nf4"])
def test_training_changes_only_the_adapter(folder: Path, repository: Path, weights: FormatOrAuto) -> None:
    """With 4-bit weights (QLoRA), gradients reach the adapter through them."""
    run = trainer(folder, repository, 2, weights)
    before = all_weights(run.model)
    list(run.steps())
    moved = changed(before, all_weights(run.model))
    assert moved == {name for name in before if "lora_" in name}
    assert len(moved) == 2 * 7 * 2


def test_new_tokens_are_learnt_with_the_adapter(folder: Path, repository: Path) -> None:
    run = trainer(folder, repository, 2, new=(286, 287, 288, 289))
    before = all_weights(run.model)
    list(run.steps())
    moved = {name for name in changed(before, all_weights(run.model)) if "lora_" not in name}
    assert len(moved) == 1
    assert next(iter(moved)).endswith("trainable_tokens_delta.default")


def test_several_passes_give_the_gradients_of_one(
    folder: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples are weighted by their learnt tokens, whichever pass they are in."""
    gradients = []
    for most, parts in ((1000, 1), (50, 4)):
        monkeypatch.setitem(MAX_PASS_TOKENS, "cpu", most)
        run = trainer(folder, repository, 1)
        loss = run._backward(batch := run._batches[0])
        assert len(list(split_into_passes(batch, most))) == parts
        gradients.append((loss, [weight.grad for weight in peft_adapter.trainable(run.model)]))
    (loss, whole), (other, added) = gradients
    assert other == pytest.approx(loss)
    for one, another in zip(whole, added, strict=True):
        torch.testing.assert_close(another, one)


def test_bfloat16_base_computes_in_bfloat16(folder: Path, repository: Path) -> None:
    """The adapter's weights stay in float32. Losses equal those with a float32 base, apart from rounding."""
    runs = [trainer(folder, repository, 12, weights) for weights in ("fp32", "bf16")]
    losses = [[step.loss for step in run.steps()] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1][-1] < 0.9 * losses[1][0]
    assert {weight.dtype for weight in peft_adapter.trainable(runs[1].model)} == {torch.float32}
    seen = set[torch.dtype]()
    for layer in runs[1].model.modules():
        if hasattr(layer, "lora_A"):
            layer.lora_A["default"].register_forward_hook(lambda _, __, made: seen.add(made.dtype))
    token_losses(runs[1].model, runs[1]._batches[0])
    assert seen == {torch.bfloat16}


def test_gradient_checkpointing_changes_no_loss(folder: Path, repository: Path) -> None:
    recipe, files = RECIPE, read_sources([repository]).files
    losses = []
    for recompute in (False, True):
        model = peft_adapter.attach(read_transformers(folder, "fp32", "cpu"), recipe, recompute=recompute)
        run = Trainer(model, Batches(files, load_tokenizer(folder), recipe), recipe, TrainingRun(6))
        losses.append([step.loss for step in run.steps()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_training_reduces_the_loss(folder: Path, repository: Path) -> None:
    losses = [step.loss for step in trainer(folder, repository, 60).steps()]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_resumed_run_equals_an_undisturbed_one(folder: Path, repository: Path, tmp_path: Path) -> None:
    """Bit for bit: weights, optimiser and the remaining batches."""
    whole = trainer(folder, repository, 12)
    losses = [step.loss for step in whole.steps()]
    killed = trainer(folder, repository, 12)
    for step in killed.steps():
        if step.number == 5:
            killed.save(tmp_path / "checkpoint")
        if step.number == 7:
            break
    resumed = trainer(folder, repository, 0)
    resumed.resume(tmp_path / "checkpoint")
    assert [step.loss for step in resumed.steps()] == losses[5:]
    assert changed(all_weights(whole.model), all_weights(resumed.model)) == set()
    assert (resumed.run.steps, resumed.run.step, resumed.run.tokens) == (12, 12, whole.run.tokens)


def test_checkpoint_survives_a_kill_during_save(folder: Path, repository: Path, tmp_path: Path) -> None:
    """Between the two renames, the older one is complete under the name ``.old``."""
    run = trainer(folder, repository, 4)
    path = tmp_path / "checkpoint"
    assert find_checkpoint(path) is None
    run.save(path)
    path.rename(tmp_path / "checkpoint.old")
    assert find_checkpoint(path) == (older := tmp_path / "checkpoint.old")
    assert json.loads((older / "run.json").read_text())["steps"] == 4
    run.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_adapter_of_another_shape_is_rejected(folder: Path, repository: Path, tmp_path: Path) -> None:
    peft_adapter.save(trainer(folder, repository, 1).model, tmp_path / "rank4", "a/base")
    other = peft_adapter.attach(read_transformers(folder, "fp32", "cpu"), Recipe(rank=2))
    with pytest.raises(AdapterError, match="another base model or rank"):
        peft_adapter.load_weights(other, tmp_path / "rank4")
    with pytest.raises(AdapterError, match="can't be read"):
        peft_adapter.load_weights(other, tmp_path / "nowhere")


def test_saved_adapter_is_a_standard_peft_folder(folder: Path, repository: Path, tmp_path: Path) -> None:
    """peft reads it, and the logits equal the trained model's apart from bfloat16 rounding."""
    from peft import PeftModel

    run = trainer(folder, repository, 10)
    list(run.steps())
    peft_adapter.save(run.model, tmp_path / "adapter", "a/base")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "a/base"
    again = PeftModel.from_pretrained(read_transformers(folder, "fp32", "cpu"), str(tmp_path / "adapter"))
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        trained, read = run.model.eval()(ids).logits, again.eval()(ids).logits
        plain = read_transformers(folder, "fp32", "cpu")(ids).logits
    assert (read - trained).abs().max() < 0.1 * (plain - trained).abs().max()


def test_non_finite_loss_stops_the_run(folder: Path, repository: Path) -> None:
    run = trainer(folder, repository, 3)
    with torch.no_grad():
        peft_adapter.trainable(run.model)[0].fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        list(run.steps())


def test_learning_rate_rises_then_falls() -> None:
    rates = [rate_factor(step, 100, 0.05) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0.1 < rates[-1] < 0.12
