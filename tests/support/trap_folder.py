"""A folder of traps: a module for every name that this program may import, which leaves a mark when it runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

_SPRING = "with open({witness!r}, 'a') as file:\n    file.write(__name__ + '\\n')\n"


@dataclass(frozen=True)
class TrapFolder:
    """The folder that an editor opens, and the file outside it where a trap that ran leaves its name."""

    root: Path
    witness: Path

    def sprung(self) -> list[str]:
        """Return the names of the traps that ran."""
        return self.witness.read_text().splitlines() if self.witness.exists() else []


def lay_traps(root: Path, witness: Path) -> TrapFolder:
    """Write a trap for each standard module and each installed package into ``root``; traps append to ``witness``."""
    spring = _SPRING.format(witness=str(witness))
    installed = {name for name in packages_distributions() if name.isidentifier()}
    for name in sorted(installed | {"inference", "lsp_server", "pip", "sitecustomize", "usercustomize"}):
        (root / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (root / name / file).write_text(spring)
    for name in sorted(sys.stdlib_module_names - installed):
        (root / f"{name}.py").write_text(spring)
    return TrapFolder(root, witness)
