"""Dependency rules between packages, static and at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import inference
import lsp_server

ROOT = Path(__file__).parents[1]
TENSORS = {"torch", "transformers", "bitsandbytes", "peft", "accelerate", "safetensors", "numpy", "gguf"}
TORCH_FREE = (
    "inference.api",
    "inference.client",
    "inference.doctor",
    "inference.errors",
    "inference.evaluation.batch_journal",
    "inference.evaluation.intervals",
    "inference.evaluation.scoring",
    "inference.models.adapter_store",
    "inference.models.catalog",
    "inference.models.identify",
    "inference.models.manifest",
    "inference.models.shape",
    "inference.models.store",
    "inference.remote",
    "inference.system",
    "inference.text",
    "inference.training.packages",
)
"""Modules of ``inference`` that the language server may import."""


def imports(package) -> list[tuple[str, str]]:
    """Return (file, imported module) for every import statement of a package, lazy ones included."""
    root = Path(package.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found += [(str(path.relative_to(root.parent)), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                found.append((str(path.relative_to(root.parent)), node.module or ""))
    return found


def test_layers_of_the_packages_hold():
    """The contracts in pyproject.toml: no editor in ``inference``, no tensors in ``lsp_server``, layers, no cycles."""
    linter = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    assert linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_lsp_server_imports_only_torch_free_modules():
    taken = {m for _, m in imports(lsp_server) if m.startswith("inference.")}
    assert [m for m in taken if not any(m == ok or m.startswith(ok + ".") for ok in TORCH_FREE)] == []


def starts_python(node: ast.AST) -> bool:
    """Return whether a node is a command line that begins with ``sys.executable``."""
    return isinstance(node, ast.List | ast.Tuple) and any(ast.unparse(part) == "sys.executable" for part in node.elts)


def test_child_processes_are_started_in_one_place():
    """``child_processes`` keeps the opened folder off ``sys.path``; the sandbox isolates its child (``-I``)."""
    found = set()
    for package in (inference, lsp_server):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            if any(starts_python(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
                found.add(str(path.relative_to(root.parent)))
    assert found == {"inference/system/child_processes.py", "inference/evaluation/sandbox.py"}


def test_torch_free_modules_import_no_torch():
    """Checked at run time, including their transitive imports."""
    others = (
        "text.llama_tokenizer",
        "text.chat_prompts",
        "text.infill",
        "models.adapter_files",
        "commands.adapters_command",
        "remote.remote_client",
        "server.router",
        "commands.eval_command",
        "evaluation.sandbox",
        "server.app",
        "commands.infer_command",
        "commands.engine_command",
        "server.model_manager",
        "server.transport",
        "doctor.hardware",
        "doctor.redaction",
        "doctor.installation",
        "doctor.engine_checks",
        "commands.models_command",
    )
    modules = "import " + ", ".join([*(f"inference.{name}" for name in others), *TORCH_FREE])
    code = (
        f"import sys; {modules}; sys.exit(str({TENSORS & {'torch', 'transformers'}!r} & set(sys.modules) or '') or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
