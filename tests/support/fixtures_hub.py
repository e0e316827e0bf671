"""A fake hub with one small checkpoint, configured as this process's Hugging Face Hub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hub import FakeHub

from inference.commands import pull_command
from inference.models import store

SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in range(1, 4)]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint's files."""
    from fakes.tiny_llama import save_checkpoint

    folder = save_checkpoint(tmp_path_factory.mktemp("published"))
    assert sorted(path.name for path in folder.glob("*.safetensors")) == SHARDS
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake hub with a copy of the checkpoint as ``owner/name``, and an empty model store."""
    import huggingface_hub.constants

    shutil.copytree(published, tmp_path / "repository")
    with FakeHub(tmp_path / "repository").serving() as serving:
        monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
        monkeypatch.setenv("HF_ENDPOINT", serving.url)
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # other tests load models offline
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield serving


def pull_tiny(*arguments: str) -> int:
    """Pull the hub's repository as ``tiny``. Return the exit status."""
    return pull_command.main(["owner/name", "--as", "tiny", "--accept-licence", *arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the error message of a failed pull, without the licence; check that nothing is installed."""
    capsys.readouterr()
    assert pull_tiny(*arguments) == pull_command.FAILED
    with pytest.raises(store.ModelMissingError):
        store.installed("tiny")
    out, err = capsys.readouterr()
    assert out == ""
    return "\n".join(line for line in err.splitlines() if "This model is under" not in line and "--verbose" not in line)
