"""``codellama-ls bench --large``: a few requests to a 7B-shaped model, compared with transformers on the same weights.

Speeds are printed, never asserted. On the CPU a small shape runs instead, and ``make heavy`` runs a 7B's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.devices import ON_GPU, needs
from fakes.random_nf4 import install_random_nf4

from inference.models import store
from inference.models.catalog import find
from inference.models.shape import Shape

SMALL, LARGE = Shape(512, 256, 2, 8, 8, 704, head_dim=32, positions=2048), find("codellama-7b").shape
TEXT = "".join(f"value_{n} = other(total_{n // 4}, {n})\n" for n in range(400))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(LARGE, id="7b on a GPU", marks=ON_GPU),
        pytest.param(LARGE, id="7b", marks=pytest.mark.heavy),
    ],
)
def test_large_model_is_compared_with_transformers(
    shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("bitsandbytes", "pygls", "lsprotocol", "cattrs", "pathspec", "httpx", "starlette", "uvicorn")
    from lsp_server.commands import bench_command

    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    install_random_nf4("random", shape)
    (tmp_path / "long.py").write_text(TEXT)
    status = bench_command.main(["--model", "random", "--large", "--against-transformers", "--files", str(tmp_path)])
    printed = capsys.readouterr()
    print(printed.out)  # noqa: T201
    assert status == 0, printed.err
    result = json.loads(printed.out.splitlines()[-1])
    ours, theirs = result["sides"]
    assert (ours, theirs) == ("codellama-ls", "transformers (nf4)")
    for side in result["sides"].values():
        asked = {kind: (one["count"], one["answer_tokens"]) for kind, one in side["requests"].items()}
        assert asked == {"all": (5, 8), "warm": (5, 8), "unseen": (1, 8), "rewrite": (1, 24)}
        assert side["requests"]["unseen"]["prompt_tokens"] == 200
    warm = {name: side["requests"]["warm"]["prefilled_tokens"] for name, side in result["sides"].items()}
    assert warm[ours] < 8 < 200 < warm[theirs]
    assert result["rewrites"]["count"] == 1
