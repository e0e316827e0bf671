"""``codellama-ls models`` with a fake store: the table, the JSON, and removing."""

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig

from inference.commands.models_command import run as main
from inference.models.catalog import CATALOG, STARTER
from inference.system.machine import Device, Machine

GIB = 1 << 30
IDLE_GPU = Machine(
    Device("cpu", "CPU memory", 32 * GIB, 20 * GIB), (Device("cuda", "Testing GPU", 24 * GIB, 24 * GIB),)
)
BUSY_GPU = Machine(Device("cpu", "CPU memory", 32 * GIB, 20 * GIB), (Device("cuda", "Testing GPU", 24 * GIB, 9 * GIB),))


class FolderStore:
    """A store in which every folder is an installed model."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, model_id: str, size: int, config: dict | None = None) -> None:
        folder = self.root / model_id
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(size))
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))

    def all_installed(self) -> Mapping[str, Path]:
        return {folder.name: folder for folder in self.root.iterdir()}

    def remove(self, model_id: str) -> None:
        shutil.rmtree(self.root / model_id)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def listed(store: FolderStore, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs ``models --json`` and returns its objects by id."""

    def run(found: Machine = IDLE_GPU, loaded: frozenset[str] = frozenset()) -> dict[str, dict]:
        assert main(["--json"], store=store, in_use=lambda: loaded, look=lambda: found) == 0
        return {row["id"]: row for row in json.loads(capsys.readouterr().out)}

    return run


def test_json_is_in_the_catalogues_order(listed):
    """One object per model, installed or not."""
    assert list(listed()) == list(CATALOG)


def test_json_has_all_fields(listed):
    """The fields are a contract with other programs."""
    assert listed()["codellama-7b-instruct"] == {
        "id": "codellama-7b-instruct",
        "title": "Code Llama 7B Instruct",
        "hub": "codellama/CodeLlama-7b-Instruct-hf",
        "infill": True,
        "chat": "llama",
        "context": 16_384,
        "usable_context": 100_000,
        "licence": "Llama 2 Community License",
        "licence_url": "https://github.com/meta-llama/codellama/blob/main/LICENSE",
        "policy_url": "https://github.com/meta-llama/codellama/blob/main/USE_POLICY.md",
        "parameters": 6_738_546_688,
        "bf16_bytes": 13_477_093_376,
        "nf4_bytes": 4_167_835_648,
        "nf4_double_bytes": 3_865_853_952,
        "kv_bytes_per_token": 524_288,
        "installed": False,
        "disk_bytes": None,
        "in_use": False,
        "fits": True,
        "fits_when_idle": True,
        "fits_as": "nf4",
        "context_here": 16_384,
        "needed_bytes": 6_061_753_856,
    }


def test_fits_now_when_idle_and_in_which_format(listed):
    """34B fits a 24 GiB GPU that nothing else uses. 70B never fits it."""
    idle, busy = listed(IDLE_GPU), listed(BUSY_GPU)

    def fit(rows: dict[str, dict], model_id: str) -> tuple:
        return tuple(rows[model_id][name] for name in ("fits", "fits_when_idle", "fits_as"))

    assert fit(idle, "codellama-34b") == (True, True, "nf4")
    assert fit(busy, "codellama-34b") == (False, True, "nf4")
    assert fit(busy, "codellama-13b") == (False, True, "nf4")
    assert fit(busy, "codellama-7b") == (True, True, "nf4")
    assert fit(idle, "codellama-70b") == (False, False, None)


def test_double_quantisation_is_named_if_only_it_fits(listed):
    """The two formats of 13B differ by half a GiB."""
    tight = Machine(Device("cpu", "CPU memory", 32 * GIB, 20 * GIB), (Device("cuda", "GPU", 24 * GIB, int(9.2 * GIB)),))
    row = listed(tight)["codellama-13b"]
    assert (row["fits"], row["fits_as"], row["context_here"]) == (True, "nf4-double", 2048)


def test_without_a_gpu_models_must_fit_the_memory(listed):
    rows = listed(Machine(Device("cpu", "CPU memory", 16 * GIB, 12 * GIB), note="No GPU."))
    assert [i for i, row in rows.items() if row["fits"]] == [i for i in CATALOG if "34b" not in i and "70b" not in i]


def test_loaded_model_fits(store: FolderStore, listed):
    """The memory that it uses itself must not count against it."""
    store.add("codellama-34b", 10)
    row = listed(BUSY_GPU, frozenset({"codellama-34b"}))["codellama-34b"]
    assert (row["installed"], row["in_use"], row["fits"], row["disk_bytes"]) == (True, True, True, 10)


def test_custom_model_is_listed_from_its_config(store: FolderStore, listed):
    """Its training, and therefore its abilities, are not known."""
    config = LlamaConfig(vocab_size=32_000, hidden_size=256, intermediate_size=512, num_hidden_layers=2).to_dict()
    store.add("my-finetune", 5, config)
    rows = listed()
    assert list(rows) == [*CATALOG, "my-finetune"]
    row = rows["my-finetune"]
    assert row["parameters"] == 2 * 32_000 * 256 + 5 * 256 + 2 * (4 * 256 * 256 + 3 * 256 * 512)
    assert (row["infill"], row["chat"], row["fits"]) == (None, None, True)


def test_shape_of_an_installed_model_is_read_from_its_config(store: FolderStore, listed):
    """Configurations differ between revisions."""
    config = LlamaConfig(vocab_size=32_000, hidden_size=256, intermediate_size=512, num_hidden_layers=2).to_dict()
    store.add("codellama-70b-python", 5, config)
    assert listed()["codellama-70b-python"]["parameters"] < 20_000_000


def test_broken_installation_is_listed(store: FolderStore, listed, capsys):
    """So that the user can remove it."""
    store.add("my-finetune", 5)
    row = listed()["my-finetune"]
    assert (row["parameters"], row["fits"], row["installed"]) == (None, False, True)
    assert main([], store=store, in_use=set, look=lambda: IDLE_GPU) == 0
    assert line(capsys.readouterr().out, "my-finetune").split() == ["my-finetune", *["?"] * 7, "0", "MiB"]


def line(output: str, model_id: str) -> str:
    return next(row for row in output.splitlines() if row.startswith(model_id + " "))


def test_table_has_a_line_for_each_model(store: FolderStore, capsys):
    """In a pipe, nothing is cut or wrapped."""
    store.add("codellama-7b", 3 << 20)
    assert main([], store=store, in_use=lambda: {"codellama-7b"}, look=lambda: BUSY_GPU) == 0
    output = capsys.readouterr().out
    columns = [" ".join(line(output, i).split()) for i in CATALOG]
    assert columns[:4] == [
        "starter 134,515,008 111 MiB 106 MiB 22.5 KiB 8K infill, chat yes",
        "codellama-7b 6,738,546,688 3.88 GiB 3.60 GiB 512 KiB 16K (100K) infill loaded 3 MiB, in use",
        "codellama-7b-python 6,738,415,616 3.88 GiB 3.60 GiB 512 KiB 16K (100K) complete yes",
        "codellama-7b-instruct 6,738,546,688 3.88 GiB 3.60 GiB 512 KiB 16K (100K) infill, chat yes",
    ]
    assert columns[7] == (
        "codellama-34b 33,743,970,304 18.38 GiB 16.94 GiB 192 KiB 16K (100K) complete not now: needs 19.83 GiB free"
    )
    assert columns[12] == "codellama-70b-instruct 68,976,910,336 36.84 GiB 33.87 GiB 320 KiB 4K complete, chat no"
    assert "on Testing GPU with 9.00 GiB free of 24.00 GiB, and at least 2,048 tokens of context." in output


def test_table_says_that_no_gpu_was_found(store: FolderStore, capsys):
    found = Machine(Device("cpu", "CPU memory", 16 * GIB, 12 * GIB), note="No NVIDIA GPU was found: none.")
    assert main([], store=store, in_use=set, look=lambda: found) == 0
    assert capsys.readouterr().out.endswith("No NVIDIA GPU was found: none.\n")


@pytest.mark.parametrize("name", ["codellama-7b", "codellama/CodeLlama-7b-hf"])
def test_remove_deletes_an_installed_model(store: FolderStore, capsys, name: str):
    """By its id or its Hub name. With --yes there is no question."""
    store.add("codellama-7b", 3 << 20)
    assert main(["remove", name, "--yes"], store=store, in_use=set) == 0
    assert store.all_installed() == {}
    assert capsys.readouterr().out == "Removed codellama-7b (3 MiB).\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["codellama-13b", "--yes"], "codellama-13b is not installed."),
        (["codelama-7b", "--yes"], "There is no model 'codelama-7b'. Did you mean codellama-7b?"),
        (["codellama-7b"], "Removing codellama-7b deletes 3 MiB. Add --yes to confirm."),
        (["starter", "--yes"], "starter is in use. Run `codellama-ls engine stop`, then remove it."),
    ],
)
def test_refused_removal_prints_one_line(store: FolderStore, capsys, monkeypatch, argv: list[str], message: str):
    """Nothing is deleted, and the exit status is 1."""
    store.add("codellama-7b", 3 << 20)
    store.add("starter", 1)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["remove", *argv], store=store, in_use=lambda: {"starter"}) == 1
    assert set(store.all_installed()) == {"codellama-7b", "starter"}
    assert capsys.readouterr().err == f"codellama-ls: {message}\n"


class Terminal(io.StringIO):
    """A terminal on which the user types an answer."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "kept"), [("y\n", False), ("YES\n", False), ("\n", True), ("n\n", True)])
def test_remove_asks_on_a_terminal(store: FolderStore, capsys, monkeypatch, answer: str, kept: bool):
    """Enter alone keeps the model, which may have taken hours to download."""
    store.add("codellama-7b", 3 << 20)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["remove", "codellama-7b"], store=store, in_use=set) == int(kept)
    assert ("codellama-7b" in store.all_installed()) == kept
    captured = capsys.readouterr()
    assert captured.out.startswith("Remove codellama-7b (3 MiB)? [y/N] ")
    assert captured.err == ("codellama-ls: codellama-7b was kept.\n" if kept else "")


def test_remove_checks_for_an_engine_after_the_question(store: FolderStore, monkeypatch):
    """An engine may start while the user is asked."""
    store.add("codellama-7b", 1)
    loaded: set[str] = set()

    class Slow(Terminal):
        def readline(self, *_: int) -> str:
            loaded.add("codellama-7b")
            return "y\n"

    monkeypatch.setattr("sys.stdin", Slow())
    assert main(["remove", "codellama-7b"], store=store, in_use=lambda: loaded) == 1
    assert "codellama-7b" in store.all_installed()


def test_remove_reports_an_error_of_the_file_system(store: FolderStore, capsys, monkeypatch):
    store.add("codellama-7b", 1)

    def refuse(model_id: str) -> None:
        raise PermissionError(13, "Permission denied", model_id)

    monkeypatch.setattr(store, "remove", refuse)
    assert main(["remove", "codellama-7b", "--yes"], store=store, in_use=set) == 1
    assert capsys.readouterr().err == (
        "codellama-ls: codellama-7b could not be removed: [Errno 13] Permission denied: 'codellama-7b'.\n"
    )


def test_outdated_starter_is_reported_with_the_pull_command(store, capsys):
    """A line below the table names the command. The JSON has it in ``infill``."""
    store.add("starter", 1)
    old = {**CATALOG, "starter": replace(STARTER, infill=False)}
    advice = "The installed starter can't infill yet. Run `codellama-ls pull starter` to update it.\n"
    for row_of, reported in ((old.get, True), (CATALOG.get, False)):
        assert main([], store=store, in_use=set, look=lambda: IDLE_GPU, row_of=row_of) == 0
        assert capsys.readouterr().out.endswith(advice) == reported
