"""The chat participant and the language model in a real VS Code without any sign-in."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from support.vscode_window import VscodeWindow, becomes
from support.waiting import until

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ANSWERS = ".interactive-response .rendered-markdown"


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _chat(window: VscodeWindow) -> None:
    """Open the chat by our command, which selects the only model. Without a model VS Code calls no participant."""
    await window.host("await vscode.commands.executeCommand('codellama.openChat')")
    await window.see(".interactive-session .chat-input-container")


async def says(window: VscodeWindow, text: str) -> None:
    await window.command("workbench.action.chat.open", {"query": text, "isPartialQuery": False})


async def answered(window: VscodeWindow, text: str) -> None:
    async def last() -> bool:
        return any(text in answer for answer in await window.texts(ANSWERS))

    await becomes(last, True)


async def test_participant_answers_and_keeps_the_conversation(window, folder, engine):
    engine.pieces = ["The sky ", "is blue."]
    await window.open(folder / "chat.py", "x = 1\n", 0, 0)
    await window.host("await vscode.commands.executeCommand('workbench.action.chat.newChat')")
    await says(window, "@codellama What colour is the sky?")
    await answered(window, "The sky is blue.")
    engine.pieces = ["Because of ", "scattering."]
    await says(window, "@codellama Why?")
    await answered(window, "Because of scattering.")
    roles = [message.role for message in engine.asked[-1][0]]
    assert roles[-3:] == ["user", "assistant", "user"], "one conversation of the server's"
    assert engine.asked[-1][0][-2].content == "The sky is blue."


async def test_slash_command_sends_the_selection(window, folder, engine):
    engine.pieces = ["It adds."]
    await window.open(folder / "slash.py", "def add(a, b):\n    return a + b\n", 0, 0)
    await window.host("vscode.window.activeTextEditor.selection = new vscode.Selection(0, 0, 1, 16)")
    await window.host("await vscode.commands.executeCommand('workbench.action.chat.newChat')")
    await says(window, "@codellama /explain")
    await answered(window, "It adds.")
    asked = engine.asked[-1][0][-1].content
    assert "slash.py, lines 1 to 2" in asked and "return a + b" in asked


async def test_stopping_cancels_the_model(window, service, engine):
    engine.pieces, engine.hold = ["One, ", "two, ", "three."], True
    await window.host("await vscode.commands.executeCommand('workbench.action.chat.newChat')")
    await says(window, "@codellama Count.")
    assert await asyncio.to_thread(engine.began.wait, 60)
    await answered(window, "One,")
    await window.command("workbench.action.chat.cancel")
    await until(lambda: service.service.requests.held == 0)
    engine.go.set()
    await until(lambda: any(line.startswith("closed ") for line in engine.log))


async def test_explain_opens_the_chat_at_the_position(window, folder, engine):
    """For clients with a chat, the server's *Explain* opens it."""
    engine.pieces = ["It multiplies."]
    await window.open(folder / "explain.py", "def mul(a, b):\n    return a * b\n", 1, 4)
    await window.host("await vscode.commands.executeCommand('workbench.action.chat.newChat')")
    await window.host(
        """const { document } = vscode.window.activeTextEditor;
        const range = new vscode.Range(0, 0, 1, 16);
        const found = await vscode.commands.executeCommand("vscode.executeCodeActionProvider", document.uri, range);
        const explain = found.find((one) => one.title === "Explain");
        const { command, arguments: args } = typeof explain.command === "string" ? explain : explain.command;
        vscode.commands.executeCommand(command, ...args);"""
    )
    await answered(window, "It multiplies.")
    assert "return a * b" in engine.asked[-1][0][-1].content


async def test_language_model_answers_other_extensions(window, engine):
    engine.pieces = ["Hello ", "you."]
    found = await window.host(
        """const [model] = await vscode.lm.selectChatModels({ vendor: "codellama" });
        return [model.id, model.maxInputTokens, await model.countTokens("123456")];"""
    )
    assert found == ["starter", 4096 - 512, 2]
    await window.host(
        """state.said = null;
        const [model] = await vscode.lm.selectChatModels({ vendor: "codellama" });
        (async () => {
          const { text } = await model.sendRequest([vscode.LanguageModelChatMessage.User("Hello?")], {});
          let all = "";
          for await (const piece of text) all += piece;
          state.said = all;
        })().catch((error) => { state.said = String(error); });"""
    )
    await becomes(lambda: window.host("return state.said"), "Hello you.")
    assert [(one.role, one.content) for one in engine.asked[-1][0]] == [("user", "Hello?")]
