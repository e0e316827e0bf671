"""A tiny installed model with infilling sentinels, and a tiny repository to train on."""

from __future__ import annotations

from pathlib import Path

from fakes.tiny_llama import save_checkpoint

from inference.models import store


def install_tiny(model_id: str = "tiny", *, infill: bool = True) -> Path:
    """Install a model with random weights of a fixed seed, as ``pull --as`` does."""
    with (
        store.locked(model_id, on_wait=lambda: None),
        store.installing(model_id, "a test", 0) as staging,
    ):
        save_checkpoint(staging.checkpoint, sentinels=True, hidden_size=64, intermediate_size=128, vocab_size=320)
        staging.facts.update({"source": "a test", "trained": {"infill": infill, "chat": None}})
    return store.installed(model_id)


def write_repository(folder: Path, files: int = 12) -> Path:
    """Write files that are similar, as in one repository, but no copies of each other."""
    folder.mkdir(parents=True)
    for n in range(files):
        name = "abcdefghijklmnopqrstuvwxyz"[n]
        lines = [f"def the_{name}_of_{other}(value):\n    return value + the_{name}\n" for other in "abcdefgh"]
        (folder / f"{name}.py").write_text("\n".join(lines))
    return folder
