"""Damaged files on the disk: what the user is told, and that the engine recovers.

Each fault's row is appended to the file that ``FAULT_TABLE`` names: fault, what the user is told, recovered.
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
from inference.native.library import missing

ROOT = Path(__file__).parents[2]
LIBRARY = pytest.mark.skipif(bool(missing()), reason=missing())
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 4711

ENGINES = """
import json, logging, os, sys
from inference.api.events import Sampling, TextChunk
from inference.engine.engine import Engine
from inference.models.loader import load
from inference.native.native_loader import read
from inference.server.model_manager import Wanted, load_models

def start(folder):
    os.environ |= {"XDG_CACHE_HOME": folder + "/cache", "CODELLAMA_LS_MODELS": folder + "/models"}
    logging.basicConfig(level=logging.WARNING, format="%(message)s", filename=folder + "/log")
    try:
        engine = load_models(Wanted("tiny", "tiny"), lambda message, percent: None)["tiny"]
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
"""Starts an engine for each folder it reads, in a process of its own, and tells how that ended. Imports once."""


@dataclass
class Machine:
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
        """Load and complete as a new engine does: the answer, or else nothing; and what the user is told."""
        assert self.engines.stdin is not None and self.engines.stdout is not None
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        self.engines.stdin.write(f"{self.folder}\n")
        self.engines.stdin.flush()
        assert self.engines.stdout.readline() == "0\n", "the engine crashed"
        result = json.loads((self.folder / "result").read_text())
        assert result.get("module", "inference.").startswith("inference."), f"no sentence for the user: {result}"
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
def healthy(tmp_path_factory: pytest.TempPathFactory, engines: subprocess.Popen[str]) -> tuple[Machine, str]:
    """A machine on which the engine has run once, and the answer that it gave."""
    folder = tmp_path_factory.mktemp("machine")
    # The packed weights are so large that a start does not read all of them.
    save_checkpoint(folder / "published", intermediate_size=4096, shard="500KB")
    machine = Machine(folder, engines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.FOLDER_VARIABLE, str(folder / "models"))
        assert pull_command.main([str(folder / "published"), "--as", "tiny"]) == pull_command.OK
    answer, told = machine.start()
    assert answer
    assert told == ""
    assert not missing() or not list(folder.glob(PACKED))
    assert missing() or machine.one(f"{PACKED}/weights.bin").stat().st_size > manifest.SMALL
    return machine, answer


@pytest.fixture
def machine(healthy: tuple[Machine, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A copy of it, for one test to damage."""
    copy = Machine(Path(shutil.copytree(healthy[0].folder, tmp_path / "machine")), healthy[0].engines)
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(copy.folder / "models"))
    return copy


def note(fault: str, told: str, machine: Machine) -> None:
    """Append a row to the table, without this machine's paths. Whoever calls it has asserted the recovery."""
    if table := os.environ.get("FAULT_TABLE"):
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(f"{fault} | {told.replace(str(machine.folder), '~')} | yes\n".replace("\n\n", "\n"))


def truncate(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def scales(machine: Machine) -> int:
    """Offset of 200 bytes of packed weights with a block's scales in them: 512 bytes of codes come before (int8)."""
    index = json.loads(machine.one(f"{PACKED}/index.json").read_text())
    return index["model.layers.0.mlp.down_proj.weight"][0] + 450


COMPILED = "cache/codellama-ls/native/llama-*"
PACKED = "models/tiny/int8-*"

Damage = Callable[[Machine], object]

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
        lambda m: os.chown(m.one(f"{COMPILED}/*.so"), SOMEBODY, SOMEBODY),
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
        lambda m: os.chown(m.one(f"{PACKED}/weights.bin"), SOMEBODY, SOMEBODY),
        "(weights.bin belongs to another user): quantising again",
    ),
}
"""Faults that the next start repairs by itself, with one line in the log."""


@LIBRARY
@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=ROOT_ONLY) if "of another user" in name else name for name in REBUILT]
)
def test_start_repairs_what_can_be_made_again(fault: str, machine: Machine, healthy: tuple[Machine, str]) -> None:
    damage, line = REBUILT[fault]
    damage(machine)
    answer, told = machine.start()
    assert answer == healthy[1]
    assert line in told
    assert len(told.splitlines()) == 1
    assert machine.start() == (healthy[1], "")
    note(fault, told, machine)


@LIBRARY
@pytest.mark.parametrize("content", [bytes(200), b"\xff" * 200], ids=["finite", "not finite"])
def test_verify_finds_changed_bytes_in_packed_weights(
    content: bytes, machine: Machine, healthy: tuple[Machine, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Their size is right, so a start maps them; numbers that are not finite are told, others only by ``--verify``."""
    offset = scales(machine)
    overwrite(machine.one(f"{PACKED}/weights.bin"), offset, content)
    answer, at_start = machine.start()
    finite = not any(content)
    assert bool(answer) == finite
    assert at_start.splitlines()[:1] == (
        []
        if finite
        else ["The weights of tiny give numbers that are not finite. Run `codellama-ls pull tiny --verify`."]
    )
    capsys.readouterr()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    told = capsys.readouterr().err.strip()
    assert "were damaged (the content of weights.bin has changed) and were removed." in told
    assert machine.start() == (healthy[1], "")
    assert pull_command.main(["tiny", "--verify"]) == pull_command.OK
    fault = "200 bytes of packed weights overwritten, numbers " + ("finite" if finite else "not finite")
    note(fault, "; ".join([*at_start.splitlines()[:1], told]), machine)


def shard(machine: Machine) -> Path:
    """A file of the checkpoint's weights."""
    return min(machine.model.glob("*.safetensors"))


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
"""Faults that take a new pull."""


@pytest.mark.parametrize("fault", REPLACED)
def test_damaged_checkpoint_is_not_loaded_until_it_is_pulled_again(
    fault: str, machine: Machine, healthy: tuple[Machine, str]
) -> None:
    damage, sentence = REPLACED[fault]
    damage(machine)
    answer, told = machine.start()
    assert answer == ""
    assert sentence in told
    assert told.endswith(": run `codellama-ls pull tiny --force`.")
    assert pull_command.main([str(machine.folder / "published"), "--as", "tiny", "--force"]) == pull_command.OK
    assert machine.start() == (healthy[1], "")
    note(fault, told, machine)


def test_changed_content_of_a_checkpoint_is_found_by_verify(
    machine: Machine, healthy: tuple[Machine, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = shard(machine)
    overwrite(file, file.stat().st_size // 2, b"x" * 200)
    capsys.readouterr()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    told = capsys.readouterr().err.strip()
    assert f"(the content of {file.name} has changed). Run `codellama-ls pull tiny --force`." in told
    assert pull_command.main(["tiny", "--force"]) == pull_command.OK
    assert machine.start() == (healthy[1], "")
    note("200 bytes of a checkpoint file overwritten", told, machine)
