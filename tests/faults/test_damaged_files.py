"""Damaged files: the message to the user, and the engine's recovery.

With ``FAULT_TABLE=FILE`` each test appends a row: fault, message, recovered.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.commands import pull_command
from inference.models import manifest, store
from inference.models.manifest import MANIFEST
from inference.native.library import why_unavailable

ROOT = Path(__file__).parents[2]
LIBRARY = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable())
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER_USER = 4711

ENGINES = """
import json, logging, os, sys
from inference.api.events import Sampling, TextChunk
from inference.engine.engine import Engine
from inference.models.loader import load
from inference.native.native_llama import read
from inference.server.model_manager import ModelChoice, load_models

def start(folder):
    os.environ |= {"XDG_CACHE_HOME": folder + "/cache", "CODELLAMA_LS_MODELS": folder + "/models"}
    logging.basicConfig(level=logging.WARNING, format="%(message)s", filename=folder + "/log")
    try:
        engine = load_models(ModelChoice("tiny", "tiny"), lambda message, percent: None)["tiny"]
        events = list(engine.complete("the quick", sampling=Sampling(max_tokens=8)))
        return {"answer": "".join(one.text for one in events if isinstance(one, TextChunk))}
    except Exception as error:
        return {"error": str(error), "module": type(error).__module__}

for line in sys.stdin:
    folder = line.strip()
    child = os.fork()
    if child == 0:
        with open(folder + "/result", "w") as file:
            json.dump(start(folder), file)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Starts an engine in a forked process for each folder it reads, and prints its exit status. Imports only once."""


@dataclass
class Installation:
    """One user's files: the models and the cache with the compiled library."""

    folder: Path
    engines: subprocess.Popen[str]

    @property
    def model(self) -> Path:
        return self.folder / "models" / "tiny"

    def one(self, pattern: str) -> Path:
        [found] = self.folder.glob(pattern)
        return found

    def start(self) -> tuple[str, str]:
        """Load and complete like a new engine. Return the text, empty after an error, and the messages."""
        assert self.engines.stdin is not None and self.engines.stdout is not None
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        self.engines.stdin.write(f"{self.folder}\n")
        self.engines.stdin.flush()
        assert self.engines.stdout.readline() == "0\n", "the engine crashed"
        result = json.loads((self.folder / "result").read_text())
        assert result.get("module", "inference.").startswith("inference."), f"no message for the user: {result}"
        logged = log.read_text() if log.exists() else ""
        return result.get("answer", ""), "\n".join(filter(None, (result.get("error"), logged.strip())))


@pytest.fixture(scope="module")
def engines() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [sys.executable, "-c", ENGINES],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, engines: subprocess.Popen[str]) -> tuple[Installation, str]:
    """Return an installation on which the engine has run once, and the text that it generated."""
    folder = tmp_path_factory.mktemp("installation")
    # Large enough that a start does not check all of the packed weights.
    save_checkpoint(folder / "published", intermediate_size=4096, shard="500KB")
    installation = Installation(folder, engines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(folder / "models"))
        assert pull_command.main([str(folder / "published"), "--as", "tiny"]) == pull_command.OK
    text, messages = installation.start()
    assert text
    assert messages == ""
    assert not why_unavailable() or not list(folder.glob(PACKED))
    assert why_unavailable() or installation.one(f"{PACKED}/weights.bin").stat().st_size > manifest.SMALL
    return installation, text


@pytest.fixture
def installation(healthy: tuple[Installation, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Return a copy of the healthy installation, to be damaged."""
    copy = Installation(Path(shutil.copytree(healthy[0].folder, tmp_path / "installation")), healthy[0].engines)
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(copy.folder / "models"))
    return copy


def add_row(fault: str, messages: str, installation: Installation) -> None:
    """Append a row to the table, without absolute paths. The caller has asserted the recovery."""
    if table := os.environ.get("FAULT_TABLE"):
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(f"{fault} | {messages.replace(str(installation.folder), '~')} | yes\n".replace("\n\n", "\n"))


def truncate(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def scales(installation: Installation) -> int:
    """Return the offset of 200 bytes of packed weights that contain a block's scales, after 512 bytes of int8 codes."""
    index = json.loads(installation.one(f"{PACKED}/index.json").read_text())
    return index["model.layers.0.mlp.down_proj.weight"][0] + 450


COMPILED = "cache/codellama-ls/native/llama-*"
PACKED = "models/tiny/int8-*"

Damage = Callable[[Installation], object]

REBUILT: dict[str, tuple[Damage, str]] = {
    "empty library": (lambda m: truncate(m.one(f"{COMPILED}/*.so"), 0), "is not used (llama.so has 0 bytes instead of"),
    "cut library": (lambda m: truncate(m.one(f"{COMPILED}/*.so"), 0.5), "bytes instead of"),
    "changed library": (
        lambda m: overwrite(m.one(f"{COMPILED}/*.so"), 5000, b"x" * 200),
        "the content of llama.so has changed): compiling it again",
    ),
    "library without manifest": (
        lambda m: m.one(f"{COMPILED}/{MANIFEST}").unlink(),
        "its manifest.json can't be read): compiling it again",
    ),
    "library that others can write to": (
        lambda m: m.one(f"{COMPILED}/*.so").chmod(0o666),
        "other users can write to llama.so): compiling it again",
    ),
    "library of another user": (
        lambda m: os.chown(m.one(f"{COMPILED}/*.so"), OTHER_USER, OTHER_USER),
        "llama.so belongs to another user): compiling it again",
    ),
    "empty packed weights": (
        lambda m: truncate(m.one(f"{PACKED}/weights.bin"), 0),
        "are not used (weights.bin has 0 bytes instead of",
    ),
    "cut packed weights": (lambda m: truncate(m.one(f"{PACKED}/weights.bin"), 0.5), "): quantising again"),
    "changed index of packed weights": (
        lambda m: overwrite(m.one(f"{PACKED}/index.json"), 100, b"9" * 20),
        "(the content of index.json has changed): quantising again",
    ),
    "packed weights without manifest": (
        lambda m: m.one(f"{PACKED}/{MANIFEST}").unlink(),
        "(its manifest.json can't be read): quantising again",
    ),
    "packed weights with a damaged manifest": (
        lambda m: truncate(m.one(f"{PACKED}/{MANIFEST}"), 0.5),
        "(its manifest.json can't be read): quantising again",
    ),
    "packed weights that others can write to": (
        lambda m: m.one(f"{PACKED}/weights.bin").chmod(0o666),
        "(other users can write to weights.bin): quantising again",
    ),
    "packed weights of another user": (
        lambda m: os.chown(m.one(f"{PACKED}/weights.bin"), OTHER_USER, OTHER_USER),
        "(weights.bin belongs to another user): quantising again",
    ),
}
"""Faults that the next start repairs, with one line in the log."""


@LIBRARY
@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=ROOT_ONLY) if "of another user" in name else name for name in REBUILT]
)
def test_start_rebuilds_damaged_caches(
    fault: str, installation: Installation, healthy: tuple[Installation, str]
) -> None:
    damage, line = REBUILT[fault]
    damage(installation)
    text, messages = installation.start()
    assert text == healthy[1]
    assert line in messages
    assert len(messages.splitlines()) == 1
    assert installation.start() == (healthy[1], "")
    add_row(fault, messages, installation)


@LIBRARY
@pytest.mark.parametrize("content", [bytes(200), b"\xff" * 200], ids=["finite", "not finite"])
def test_verify_finds_changed_bytes_in_packed_weights(
    content: bytes, installation: Installation, healthy: tuple[Installation, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A start checks only their size. Only numbers that are not finite are noticed without ``--verify``."""
    offset = scales(installation)
    overwrite(installation.one(f"{PACKED}/weights.bin"), offset, content)
    text, at_start = installation.start()
    finite = not any(content)
    assert bool(text) == finite
    assert at_start.splitlines()[:1] == (
        []
        if finite
        else ["The weights of tiny give numbers that are not finite. Run `codellama-ls pull tiny --verify`."]
    )
    capsys.readouterr()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    messages = capsys.readouterr().err.strip()
    assert "were damaged (the content of weights.bin has changed) and were removed." in messages
    assert installation.start() == (healthy[1], "")
    assert pull_command.main(["tiny", "--verify"]) == pull_command.OK
    fault = "200 bytes of packed weights overwritten, numbers " + ("finite" if finite else "not finite")
    add_row(fault, "; ".join([*at_start.splitlines()[:1], messages]), installation)


def shard(installation: Installation) -> Path:
    """Return a weight file of the checkpoint."""
    return min(installation.model.glob("*.safetensors"))


REPLACED: dict[str, tuple[Damage, str]] = {
    "empty checkpoint file": (lambda m: truncate(shard(m), 0), " has 0 bytes instead of "),
    "cut checkpoint file": (lambda m: truncate(shard(m), 0.5), " bytes instead of "),
    "missing checkpoint file": (lambda m: shard(m).unlink(), ".safetensors is missing)"),
    "checkpoint without manifest": (lambda m: (m.model / MANIFEST).unlink(), "(its manifest.json can't be read)"),
    "checkpoint with a damaged manifest": (
        lambda m: truncate(m.model / MANIFEST, 0.5),
        "(its manifest.json can't be read)",
    ),
}
"""Faults that need another pull."""


@pytest.mark.parametrize("fault", REPLACED)
def test_damaged_checkpoint_is_not_loaded_until_pulled_again(
    fault: str, installation: Installation, healthy: tuple[Installation, str]
) -> None:
    damage, message = REPLACED[fault]
    damage(installation)
    text, messages = installation.start()
    assert text == ""
    assert message in messages
    assert messages.endswith(". Run `codellama-ls pull tiny --force`.")
    assert pull_command.main([str(installation.folder / "published"), "--as", "tiny", "--force"]) == pull_command.OK
    assert installation.start() == (healthy[1], "")
    add_row(fault, messages, installation)


def test_verify_finds_changed_bytes_in_a_checkpoint(
    installation: Installation, healthy: tuple[Installation, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = shard(installation)
    overwrite(file, file.stat().st_size // 2, b"x" * 200)
    capsys.readouterr()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    messages = capsys.readouterr().err.strip()
    assert f"(the content of {file.name} has changed). Run `codellama-ls pull tiny --force`." in messages
    assert pull_command.main(["tiny", "--force"]) == pull_command.OK
    assert installation.start() == (healthy[1], "")
    add_row("200 bytes of a checkpoint file overwritten", messages, installation)
