"""``codellama/commitMessage``: messages for the staged changes only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.simulated_user import chat_user
from support.waiting import until

from lsp_server.prompts.templates import messages_for

COMMIT = "codellama/commitMessage"
FAILED = -32803
DIFF = "diff --git a/a.py b/a.py\nnew file mode 100644\nindex 0000000..587be6b\n"
DIFF += "--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x"


def run(folder: Path, *arguments: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env=own)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with a staged file and one that is not staged."""
    run(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("x\n")
    run(tmp_path, "add", "a.py")
    (tmp_path / "b.py").write_text("y\n")
    return tmp_path


async def test_message_for_what_is_staged(runtime, repository):
    async with chat_user(runtime, repository, ScriptedModel(["Add ", "a"])) as one:
        answer = await one.ask_json(COMMIT, partialResultToken=1, workDoneToken=2)
        assert answer == {"message": "Add a", "finishReason": "stop", "shortened": False, "leftOut": []}
        title = {"kind": "begin", "title": "Code Llama writes a commit message", "cancellable": True}
        await until(lambda: len(one.progress_json) == 4)
        assert one.progress_json == [(2, title), (1, {"text": "Add "}), (1, {"text": "a"}), (2, {"kind": "end"})]
        fields = {"diff": f"The staged changes:\n```diff\n{DIFF}\n```", "question": "", "context": ""}
        assert one.model_messages() == [(m["role"], m["content"]) for m in messages_for("commit", fields)]


async def test_fenced_block_around_a_message_is_removed(runtime, repository):
    async with chat_user(runtime, repository, ScriptedModel(["```\nAdd a\n\nFor b.\n```\n"])) as one:
        assert (await one.ask_json(COMMIT))["message"] == "Add a\n\nFor b."


async def test_long_diff_is_shortened_and_reported(runtime, repository):
    (repository / ".env").write_text("KEY=1\n")
    run(repository, "add", "-f", ".env")
    async with chat_user(runtime, repository, settings={"chat": {"contextChars": 60}}) as one:
        answer = await one.ask_json(COMMIT)
        assert (answer["shortened"], [left["title"] for left in answer["leftOut"]]) == (True, [".env"])
        assert "The staged changes (only its beginning):\n```diff\n" + DIFF[:45] in one.model_messages()[-1][1]
        assert "KEY" not in str(one.model_messages())


async def test_nothing_staged_or_no_repository_fails(runtime, repository, tmp_path_factory):
    run(repository, "rm", "-q", "--cached", "a.py")
    async with chat_user(runtime, repository) as one:
        assert await one.error_of(COMMIT) == (FAILED, "Nothing is staged: `git add` what is to be committed.")
    async with chat_user(runtime, tmp_path_factory.mktemp("none")) as one:
        assert await one.error_of(COMMIT) == (FAILED, "There is no git repository here, so there is no diff.")
        assert one.model.asked == []


async def test_only_private_files_staged_fails(runtime, repository):
    run(repository, "rm", "-q", "--cached", "a.py")
    (repository / ".env").write_text("KEY=1\n")
    run(repository, "add", "-f", ".env")
    async with chat_user(runtime, repository) as one:
        text = "All that has changed is in files that are not shown to the model."
        assert await one.error_of(COMMIT) == (FAILED, text)


async def test_repository_of_the_document_is_used(runtime, repository):
    """A folder of several repositories can be one workspace and lie in another repository."""
    inner = repository / "inner"
    (inner / "sub").mkdir(parents=True)
    run(inner, "init", "-q")
    (inner / "c.py").write_text("z\n")
    run(inner, "add", "c.py")
    (inner / "c.py").write_text("z\nmore\n")
    async with chat_user(runtime, repository) as one:
        document = one.open_in_folder("inner/sub/d.py", "")
        await one.ask_json(COMMIT, textDocument=document)
        await one.say("/commit", textDocument=document)
        await one.say("#diff", textDocument=document)
        shown = [one.model_messages(n)[-1][1] for n in range(3)]
    assert all("+++ b/c.py" in text and "a.py" not in text for text in shown)
    assert ["+more" in text for text in shown] == [False, False, True]


async def test_repository_parameter_is_used(runtime, repository):
    """Clients send it if the user chooses one of several repositories."""
    inner = repository / "inner"
    inner.mkdir()
    run(inner, "init", "-q")
    (inner / "c.py").write_text("z\n")
    run(inner, "add", "c.py")
    async with chat_user(runtime, repository) as one:
        for folder in (inner, repository):
            await one.ask_json(COMMIT, repository=folder.as_uri())
        shown = [one.model_messages(n)[-1][1] for n in range(2)]
    assert [["b/c.py" in text, "b/a.py" in text] for text in shown] == [[True, False], [False, True]]


async def test_empty_message_fails(runtime, repository):
    async with chat_user(runtime, repository, ScriptedModel([" \n"])) as one:
        assert await one.error_of(COMMIT) == (FAILED, "The model returned an empty message. Try again.")


async def test_commit_task_in_a_chat_uses_staged_changes(runtime, repository):
    async with chat_user(runtime, repository) as one:
        answer = await one.say("/commit in French")
        assert [piece["title"] for piece in answer["attached"]] == ["The staged changes"]
        text = one.model_messages()[-1][1]
        assert text == f"The staged changes:\n```diff\n{DIFF}\n```\n\nWrite its commit message.\n\nin French"
