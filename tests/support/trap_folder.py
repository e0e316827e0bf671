"""A folder of traps: modules and programs with names that this project may import or run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

_SPRING = "open({witness!r} + '/python-' + __name__, 'w').close()\n"


PROGRAMS = ("as", "cc", "clang", "codellama-ls", "gcc", "git", "ld", "nvidia-smi", "pip", "python", "python3")


@dataclass(frozen=True)
class TrapFolder:
    """A folder that an editor opens, and a folder outside in which every trap that ran creates a file."""

    root: Path
    witness: Path

    def sprung(self) -> list[str]:
        """Return the names of the traps that ran."""
        return sorted(path.name for path in self.witness.iterdir())


def lay_traps(root: Path, witness: Path) -> TrapFolder:
    """Write a trap for each standard module, installed package and program into ``root``; create ``witness``."""
    witness.mkdir(exist_ok=True)
    spring = _SPRING.format(witness=str(witness))
    installed = {name for name in packages_distributions() if name.isidentifier()}
    for name in sorted(installed | {"inference", "lsp_server", "pip", "sitecustomize", "usercustomize"}):
        (root / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (root / name / file).write_text(spring)
    for name in sorted(sys.stdlib_module_names - installed):
        (root / f"{name}.py").write_text(spring)
    for name in PROGRAMS:
        if not (root / name).exists():
            (root / name).write_text(f"#!/bin/sh\n: > '{witness}/program-{name}'\nexit 1\n")
            (root / name).chmod(0o755)
    return TrapFolder(root, witness)
