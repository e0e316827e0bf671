"""The shared report: what a maintainer needs, and nothing about the user's machine or code."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.api.events import Outcome
from inference.client import crash_report
from inference.commands import pull_command
from inference.doctor import hardware
from inference.doctor.check import Check
from inference.models import adapter_store, store
from inference.system.runtime_folder import read_or_create_token
from lsp_server import settings as settings_kept
from lsp_server.commands import doctor_command
from lsp_server.completion.trace import RequestLog, TraceRecord
from lsp_server.doctor import bundle
from lsp_server.settings import parse_settings

SECRETS = (
    "hunter2", "def pay(", "salary", "payroll", "acme", "alice", "liddell", "rabbit-hole", "projects", "wonderland",
    "hf_cheshirecat",
)  # fmt: skip
"""Every source of the report contains one of them in some form."""

WHEN = "2026-01-02 03:04:05,678"
LOG = f"""{WHEN} INFO __main__ engine started: version 0.1.0, process 7
{WHEN} INFO inference.server.model_manager plan: weights of acme-payroll (int8): 12 MiB
{WHEN} INFO inference.models.lora loaded the adapter wonderland
{WHEN} ERROR inference.server.scheduler a generation failed
Traceback (most recent call last):
  File "/home/alice/projects/payroll/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 7, in forward
    salary = def pay(hunter2)
  File "/home/alice/projects/payroll/pay.py", line 7, in pay
ValueError: 'utf-8' codec can't encode "def pay(hunter2): salary"
{WHEN} INFO payroll.acme def pay(hunter2)
{WHEN} WARNING inference.engine.sequence memory ran out: the context is 4096 tokens from now on
password: hunter2
{crash_report.ENDED}SIGSEGV
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path) -> Path:
    """Alice's machine: every source of the report contains something of hers."""
    home = tmp_path / "alice"
    (home / "projects" / "payroll").mkdir(parents=True)
    for name, value in {"HOME": str(home), "USER": "alice", "LOGNAME": "alice", "HF_TOKEN": "hf_cheshirecat"}.items():
        monkeypatch.setenv(name, value)
    for name in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / f".{name}"))
    monkeypatch.delenv(adapter_store.FOLDER_VARIABLE)
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(home / "projects" / "acme models"))
    monkeypatch.setattr("socket.gethostname", lambda: "rabbit-hole.wonderland")
    monkeypatch.chdir(home / "projects" / "payroll")
    assert pull_command.main([str(save_checkpoint(tmp_path / "tiny")), "--as", "acme-payroll"]) == pull_command.OK
    for file, content in (("engine.log", LOG), (crash_report.CRASH_MARK, "7")):
        (runtime / file).touch(0o600)
        (runtime / file).write_text(content)
    (runtime / "engine.token").write_text("hunter2-hunter2-hunter2-hunter2")
    (runtime / "engine.token").chmod(0o644)
    assert read_or_create_token(runtime / "other.token")
    for part in ("refused", "shown"):
        RequestLog().add(request(part))
    settings, problems = parse_settings(
        {
            "engine": {"model": "acme-payroll", "format": "hunter2"},
            "payroll": 1,
            "completion": {"maxTokens": "def pay("},
        }
    )
    settings_kept.save(settings.engine, problems)
    return home


def request(result) -> TraceRecord:
    return TraceRecord(
        uri="file:///home/alice/projects/payroll/pay.py",
        line=7,
        invoked=True,
        at="2026-01-02T03:04:05.678+00:00",
        result=result,
        reason="the file is read-only" if result == "refused" else "def pay(hunter2): salary",
        adapter="wonderland",
        limits="acme-payroll was not trained to infill",
        filter="lines below, payroll",
        amount="line",
        total_ms=12.5,
        stages={"gate": 1.5},
        outcome=Outcome("end", prompt_tokens=3),
    )


def facts(options) -> dict:
    """Probe results in which every part quotes something."""
    broken = {"error": "ImportError: /home/alice/projects/payroll/libpay.so: def pay(hunter2)"}
    library = "the library can't be compiled or loaded ([Errno 13] '/home/alice/projects/payroll/llama.so')"
    return {"torch": broken, "four_bits": broken, "library": library, "plan": broken}


def test_report_contains_nothing_private(home: Path, runtime: Path, monkeypatch, capsys):
    monkeypatch.setattr(hardware, "probe_torch", facts)
    assert doctor_command.main(["--quick", "--json", "--bundle", "report.json"]) == 1
    assert any(secret in capsys.readouterr().out.lower() for secret in SECRETS), "the printed output is not redacted"
    file = home / "projects" / "payroll" / "report.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert [
        secret for secret in (*SECRETS, str(home), str(runtime), os.uname().nodename) if secret in text.lower()
    ] == []
    content = json.loads(text)
    assert content["healthy"] is False
    assert content["last_end"] == "it was killed by SIGSEGV"
    assert content["versions"]["codellama-ls"]
    assert {"name": "settings", "verdict": "warning", "text": "[left out]"}.items() <= one(content, "settings").items()
    assert one(content, "runtime folder")["text"] == "others can access files in <runtime>: engine.token"


def test_model_names_and_server_token_are_left_out(home: Path, tmp_path: Path, monkeypatch):
    """They are in no saved settings, but in a check's name and advice."""
    monkeypatch.setattr(hardware, "probe_torch", facts)
    settings = tmp_path / "settings.json"
    settings.write_text('{"engine": {"model": "mad hatter/tea-party", "chatModel": "dormouse"}}')
    config = tmp_path / "codellama-ls"
    config.mkdir()
    (config / "remote.toml").write_text('url = "https://queen.example.org"\ntoken = "offwithherhead"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    quoting = Check("settings", "ok", "model tea-party, chat dormouse; queen.example.org offwithherhead")
    monkeypatch.setattr(doctor_command, "check_versions", lambda: [quoting])
    for number, arguments in enumerate((["--settings", str(settings)], ["--model", "/mad hatter/march-hare"])):
        doctor_command.main(["--quick", "--json", "--bundle", f"{number}.json", *arguments])
    doctor_command.main(
        ["--quick", "--json", "--bundle", "2.json", "--settings", str(settings), "--model", "march-hare"]
    )
    hers = ("hatter", "tea-party", "march-hare", "offwithherhead", "queen")
    for number, names in enumerate(((*hers, "dormouse"), ("hatter", "march-hare", "offwithherhead", "queen"), hers)):
        text = Path(f"{number}.json").read_text().lower()
        assert [name for name in names if name in text] == []


def test_requests_keep_numbers_and_known_strings(home: Path):
    content = bundle.report([])
    refused, shown = content["requests"]
    assert (refused["reason"], shown["reason"]) == ("the file is read-only", "[left out]")
    assert (shown["total_ms"], shown["stages"], shown["outcome"]["prompt_tokens"]) == (12.5, {"gate": 1.5}, 3)
    assert (shown["filter"], shown["file"]) == (["lines below", "[left out]"], ".py")
    assert not {"uri", "line", "adapter", "limits"} & shown.keys()


def test_log_keeps_times_and_library_frames(home: Path):
    assert bundle.report([])["log"] == [
        f"{WHEN} INFO __main__ engine started: version 0.1.0, process 7",
        f"{WHEN} INFO inference.server.model_manager plan: [left out]: 12 MiB",
        f"{WHEN} INFO inference.models.lora loaded the adapter [left out]",
        f"{WHEN} ERROR inference.server.scheduler a generation failed",
        "Traceback (most recent call last):",
        '  File "torch/nn/modules/module.py", line 7, in forward',
        "[2 lines left out]",
        "ValueError: [left out]",
        f"{WHEN} INFO [left out] [left out]",
        f"{WHEN} WARNING inference.engine.sequence memory ran out: the context is 4096 tokens from now on",
        "[1 line left out]",
        "the engine was ended by SIGSEGV",
    ]


def test_existing_file_is_not_replaced(home: Path, monkeypatch, capsys):
    monkeypatch.setattr(hardware, "probe_torch", facts)
    Path("mine.json").write_text("mine")
    assert doctor_command.main(["--quick", "--bundle", "mine.json"]) == 2
    assert "mine.json is there already" in capsys.readouterr().err
    assert Path("mine.json").read_text() == "mine"


def test_report_gets_a_default_name(home: Path, monkeypatch, capsys):
    monkeypatch.setattr(hardware, "probe_torch", facts)
    doctor_command.main(["--quick", "--bundle"])
    (file,) = Path.cwd().glob("codellama-ls-report-*.json")
    assert f"Read {file.name} before you share it" in capsys.readouterr().err


def one(content: dict, name: str) -> dict:
    return next(check for check in content["checks"] if check["name"] == name)
