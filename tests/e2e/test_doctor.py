"""The doctor on a real machine: it starts a real engine, tests it and stops it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import until

pytestmark = [pytest.mark.starter, pytest.mark.slow]


async def test_all_checks_pass_and_each_stage_is_timed(starter_folder: Path, runtime: Path, tmp_path: Path):
    command = [sys.executable, "-m", "lsp_server", "doctor", "--json", "--bundle", str(tmp_path / "report.json")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (done.returncode, told["healthy"]) == (0, True), done.stdout
    found = {check["name"]: check for check in told["checks"]}
    assert found["model starter"]["text"].endswith("SHA-256 checksums match")
    assert {"start_ms", "load_ms"} == found["loading"]["figures"].keys()
    for name in ("infill", "chat"):
        assert found[name]["verdict"] == "ok"
        assert found[name]["figures"]["completion_tokens"] > 0
        assert found[name]["figures"]["decode_ms"] > 0
    shared = json.loads((tmp_path / "report.json").read_text())
    assert [check["verdict"] for check in shared["checks"]] == [check["verdict"] for check in told["checks"]]
    assert str(Path.cwd()) not in json.dumps(shared)
    await until(lambda: not (runtime / "engine.sock").exists(), 30)
