"""``codellama-ls pull FOLDER --as ID``: a folder is checked before anything is copied."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.tiny_llama import change_config, save_checkpoint, vocabulary
from safetensors.torch import load_file, save_file

from inference.commands import pull_command
from inference.models import store
from inference.models.identify import row_of

SECOND = "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"), sentinels=True)


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to damage, and an empty store."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    return Path(shutil.copytree(checkpoint, tmp_path / "folder"))


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], model_id: str = "tiny", *arguments: str) -> str:
    """Return the message of a failed pull, which leaves nothing behind."""
    capsys.readouterr()
    assert pull_command.main([str(folder), "--as", model_id, "--accept-licence", *arguments]) == pull_command.FAILED
    assert [path.name for path in store.models_folder().iterdir() if not path.name.startswith(".")] == []
    assert not (store.models_folder() / f".{model_id}.partial").exists()
    out, err = capsys.readouterr()
    assert out == ""
    return "\n".join(line for line in err.splitlines() if "This model is under" not in line)


def test_folder_is_copied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main([str(folder), "--as", "tiny"]) == pull_command.OK
    shutil.rmtree(folder)
    store.verify("tiny", full=True)
    assert capsys.readouterr().err == (
        "tiny infills; chat format: none. To change this, pull it again with --force and --infill, --no-infill or "
        "--chat.\n"
        f"Installed tiny in {store.location('tiny')}.\n"
    )


def test_folder_needs_an_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main([str(folder)]) == pull_command.USAGE
    assert capsys.readouterr().err == (
        f"{folder} needs an id. Add --as codellama-7b if it is that model, or --as with a new id.\n"
    )


def test_missing_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main([f"{tmp_path}/none", "--as", "tiny"]) == pull_command.USAGE
    assert capsys.readouterr().err == f"There is no folder {tmp_path}/none.\n"


def test_missing_shard_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / SECOND).unlink()
    assert refusal(folder, capsys) == f"The checkpoint in {folder} lacks {SECOND}."


def test_truncated_shard_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(folder / SECOND, 10_000)
    assert refusal(folder, capsys).startswith(f"{folder / SECOND} is damaged or cut short (")


def test_damaged_shard_header_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((folder / SECOND).read_bytes())
    content[8:40] = b"\xff" * 32
    (folder / SECOND).write_bytes(content)
    assert refusal(folder, capsys).startswith(f"{folder / SECOND} is damaged or cut short (")


def test_missing_tensor_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = load_file(folder / SECOND)
    name = sorted(weights)[0]
    del weights[name]
    save_file(weights, folder / SECOND, metadata={"format": "pt"})
    assert refusal(folder, capsys) == f"The checkpoint in {folder} lacks the tensor {name}."


def test_index_with_a_path_is_rejected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in the index could reach other files."""
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../../secret.safetensors"}}))
    assert refusal(folder, capsys) == (
        f"The index of {folder} names '../../secret.safetensors', which is not a weights file beside it."
    )


@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": 3}'])
def test_damaged_index_is_reported(folder: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)
    assert refusal(folder, capsys).startswith(f"model.safetensors.index.json of {folder} can't be read (")


def test_other_architecture_is_rejected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_config(folder, model_type="mistral")
    assert refusal(folder, capsys) == (
        f"The checkpoint in {folder} has the architecture 'mistral'. Only 'llama' can be loaded."
    )


def test_missing_config_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.json").unlink()
    assert refusal(folder, capsys) == f"The checkpoint in {folder} lacks config.json."


def test_missing_weights_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    assert refusal(folder, capsys) == f"The checkpoint in {folder} lacks model.safetensors."


def test_missing_vocabulary_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tokenizer.model").unlink()
    assert refusal(folder, capsys) == (
        f"{folder} holds neither tokenizer.model nor tokenizer.json. Download the checkpoint again."
    )


def test_vocabulary_of_a_larger_model_is_rejected(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last ids are beyond the embedding."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    folder = save_checkpoint(tmp_path / "folder", sentinels=True, vocab_size=288)
    assert refusal(folder, capsys) == (
        f"The vocabulary in {folder} has 290 pieces but its model only 288: they belong to different checkpoints. "
        "Download this checkpoint again."
    )


def test_infilling_model_needs_sentinels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For example CodeLlama-34b pulled as codellama-7b."""
    (folder / "tokenizer.model").write_bytes(vocabulary())
    assert refusal(folder, capsys, "codellama-7b") == (
        f"The vocabulary in {folder} lacks infilling's control tokens (▁<PRE>, ▁<SUF>, ▁<MID>, ▁<EOT>). "
        "So it is not codellama-7b. Pull it under another name with --as."
    )


def test_70b_instruct_needs_the_step_token(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(folder, capsys, "codellama-70b-instruct") == (
        f"The vocabulary in {folder} lacks the control tokens of its chat format (<step>). "
        "So it is not codellama-70b-instruct. Pull it under another name with --as."
    )


def pulled(folder: Path, *arguments: str) -> tuple[bool, str | None]:
    """Pull a checkpoint that is not in the catalogue. Return True if it infills, and its chat format."""
    assert pull_command.main([str(folder), "--as", "tiny", "--force", *arguments]) == pull_command.OK
    row = row_of("tiny")
    return row.infill, row.chat


def plain(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(vocabulary())


def template(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": text}))

    return write


def named_templates(folder: Path) -> None:
    templates = [{"name": "rag", "template": "x"}, {"name": "default", "template": "[INST] <<SYS>>"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))


def step(folder: Path) -> None:
    (folder / "added_tokens.json").write_text('{"<step>": 300}')
    (folder / "chat_template.jinja").write_text("Source: user<step> Source: assistant\nDestination: user")


@pytest.mark.parametrize(
    ("change", "infill", "chat"),
    [
        (lambda folder: None, True, None),
        (plain, False, None),
        (template("{% if x %}<<SYS>>[INST]"), True, "llama"),
        (template("<|start_header_id|>"), True, None),
        (template("<|im_start|>user"), True, None),  # the vocabulary has no such token
        (named_templates, True, "llama"),
        (step, True, "step"),
    ],
)
def test_abilities_are_read_from_vocabulary_and_template(
    folder: Path, change: Callable[[Path], None], infill: bool, chat: str | None
) -> None:
    change(folder)
    assert pulled(folder) == (infill, chat)


def test_abilities_can_be_overridden(folder: Path) -> None:
    """A fine-tune that was not trained to infill still has the sentinels in its vocabulary."""
    assert pulled(folder, "--no-infill", "--chat", "llama") == (False, "llama")
    template("[INST] <<SYS>>")(folder)
    assert pulled(folder, "--chat", "none") == (True, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--infill"], "infilling's control tokens (▁<PRE>, ▁<SUF>, ▁<MID>, ▁<EOT>). Leave out --infill."),
        (
            ["--chat", "chatml"],
            "the control tokens of its chat format (<|im_start|>, <|im_end|>). Leave out --chat chatml.",
        ),
    ],
)
def test_abilities_need_their_control_tokens(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    plain(folder)
    assert refusal(folder, capsys, "tiny", *arguments) == f"The vocabulary in {folder} lacks {message}"


def test_abilities_in_the_catalogue_are_not_overridden(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main([str(folder), "--as", "codellama-7b", "--no-infill"]) == pull_command.USAGE
    assert capsys.readouterr().err == (
        "codellama-7b is in the catalogue, which says how it was trained. Leave out --infill and --chat.\n"
    )
