"""A window and a server elsewhere: what fails, for how long it is left alone, and that it works when it is back."""

from __future__ import annotations

import asyncio

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.llama_server import listening
from fakes.openai_server import refusal
from support.fixtures_engine import serving
from support.fixtures_remote import TOKEN, address_of, sharing
from support.linked import OneWindow, one_window, window
from support.waiting import settle, until

from inference.api.errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.requests import ChatRequest, CompletionRequest
from inference.remote.http_client import Address
from inference.text.prompts import Message
from lsp_server.backend.allowed_servers import NotAllowedError
from lsp_server.backend.remote_server import RETRY_AFTER


async def test_a_server_that_can_be_asked_is_ready(small):
    async with one_window(sharing(small)) as (one, url):
        status = await one.phase("ready")
        assert (status.model, status.message) == (
            "codellama/CodeLlama-7b-hf",
            f"codellama/CodeLlama-7b-hf at {url}",
        )
        assert one.link.server == url
        assert await one.ask() == "ab"
    assert one.warnings == []


async def test_what_the_server_can_do_is_found_out_once(small):
    fake = sharing(small)
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        for _n in range(3):
            await one.ask()
    assert (len(fake.probes), len(fake.asked)) == (2, 3)


async def test_while_nothing_is_known_yet_a_request_is_not_waited_for(small):
    async with one_window(sharing(small, silent=True)) as (one, _):
        assert await one.refusal() == "connecting"


async def test_nobody_there_is_told_and_tried_again_with_back_off(small):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        pass
    urls = [url]
    async with window(lambda: Address(urls[0])) as one:
        message = f"{url} can't be reached: check that it runs, and its address."
        assert (await one.phase("failed")).message == message
        assert await one.refusal() == message
        for count, pause in enumerate((0.2, 0.4, 0.8), 1):
            assert (await one.waits(count))[-1] == pause
            one.clock.go_on.set()
        await one.waits(4)
        async with listening(fake.app()) as back:
            urls[0] = back
            one.clock.go_on.set()
            await one.phase("ready")
            assert await one.ask() == "ab"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(small, status):
    fake = sharing(small)
    async with one_window(fake) as (one, url):
        await one.phase("ready")
        fake.failures = [refusal(status, "slow down", {"Retry-After": "30"})]
        message = f"{url} is busy or not ready yet, and is asked again in 30 s."
        assert await one.refusal() == message
        asked = len(fake.paths)
        one.clock.advance(29.9)
        assert await one.refusal() == message
        assert len(fake.paths) == asked
        one.clock.advance(0.2)
        assert await one.ask() == "ab"
    assert len(fake.probes) == 2


async def test_a_server_that_is_busy_at_once_is_asked_again_when_it_says(small):
    fake = sharing(small, failures=[refusal(503, "Loading model", {"Retry-After": "9"})])
    async with one_window(fake) as (one, _):
        assert await one.waits(1) == [9]
        assert one.statuses[-1].phase == "loading"
        one.clock.go_on.set()
        await one.phase("ready")


async def test_a_server_that_wants_to_be_asked_again_at_once_is_left_alone_for_a_second(small):
    """Else a window would ask without a pause for as long as the server is busy."""
    fake = sharing(small, failures=[refusal(503, "Loading model", {"Retry-After": "0"})])
    async with one_window(fake) as (one, _):
        assert await one.waits(1) == [1]
        one.clock.go_on.set()
        await one.phase("ready")
        fake.failures = [refusal(429, "slow down", {"Retry-After": "0"})]
        await one.refusal()
        asked = len(fake.paths)
        one.clock.advance(0.9)
        await one.refusal()
        assert len(fake.paths) == asked


async def test_a_server_that_dies_in_the_middle_is_found_out_about_anew(small):
    """It may have come back as another one."""
    fake = sharing(small)
    async with one_window(fake) as (one, url):
        await one.phase("ready")
        fake.says, before = ["a", "break"], len(fake.probes)
        message = f"{url} has gone in the middle of a request."
        assert await one.refusal() == message
        assert await one.refusal() == message
        await one.waits(1)
        fake.says, fake.takes = ["c"], frozenset({"ids"})
        one.clock.go_on.set()
        await until(lambda: one.statuses[-1].phase == "ready" and len(fake.probes) > before)
        assert await one.ask() == "c"
    assert "stop_token_ids" not in fake.asked[-1]


async def test_other_requests_go_on_while_one_is_refused(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        first = asyncio.ensure_future(one.ask())
        await until(lambda: fake.asked)
        fake.failures = [refusal(500, "a bug")]
        await one.refusal()
        fake.go.set()
        assert await first == "ab"


async def test_what_only_a_person_can_change_is_tried_again_when_they_ask(small):
    fake = sharing(small, token="right")
    token = ["wrong"]
    async with listening(fake.app()) as url, window(lambda: Address(url, token[0])) as one:
        assert (await one.phase("failed")).message.startswith(f"{url} does not accept the token")
        assert await one.waits(1) == [RETRY_AFTER]
        one.clock.go_on.set()
        asked = len(fake.paths)
        await settle()
        assert len(fake.paths) == asked
        token[0] = "right"
        await one.refusal()
        await one.phase("ready")
        assert await one.ask() == "ab"


async def test_what_is_wrong_with_the_users_file_is_told(small):
    def find() -> Address:
        raise NotAllowedError("remote.toml must be a file of yours.")

    async with window(find) as one:
        assert (await one.phase("failed")).message == "remote.toml must be a file of yours."
        assert await one.refusal() == "remote.toml must be a file of yours."


async def test_a_mistake_of_ours_does_not_end_the_link(small):
    def find() -> Address:
        raise mistakes.pop()

    mistakes: list[Exception] = [NotAllowedError("and again"), ZeroDivisionError()]
    async with window(find) as one:
        assert (await one.phase("failed")).message.endswith("can't be used: the server's log says why.")
        assert await one.waits(1) == [RETRY_AFTER]
        one.clock.go_on.set()
        await settle()
        await one.refusal()
        await until(lambda: one.statuses[-1].message == "and again")


async def test_an_adapter_that_is_not_there_is_no_failure_of_the_server(small):
    fake = sharing(small)
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        await one.refusal(ModelRefused, model="mine")
        assert await one.ask() == "ab"
    assert len(fake.probes) == 2


async def test_code_that_others_could_read_on_the_way_is_warned_of(small):
    """0.0.0.0 reaches this machine here, and yet is no loopback address."""
    async with listening(sharing(small).app()) as here:
        url = here.replace("127.0.0.1", "0.0.0.0")
        async with window(lambda: Address(url)) as one:
            await one.phase("ready")
    assert one.warnings == [f"What you type goes to {url} unencrypted, for others on the way to read: use https://."]


async def test_an_engine_that_loads_is_shown_as_it_loads(runtime):
    async with (
        serving(runtime, ScriptedAnswerer(["a"]), phase="loading", token=TOKEN) as running,
        window(lambda: address_of(running)) as one,
    ):
        await one.waits(1)
        one.clock.go_on.set()
        await one.waits(2)
        (status,) = one.statuses  # of what has not changed nothing is told again
        assert (status.phase, status.progress, status.message) == ("loading", 40, "loading weights")
        running.service.board.set(phase="ready", message="ready")
        one.clock.go_on.set()
        status = await one.phase("ready")
        assert status.model == "starter"
        assert await one.ask() == "a"


async def test_leaving_early_frees_the_server(small):
    fake = sharing(small, says=["a", "…"])
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        stream = one.link.complete(CompletionRequest("x"))
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(fake.left.wait(), 10)


async def chat(one: OneWindow) -> str:
    events = [event async for event in one.link.chat(ChatRequest((Message("user", "Hi"),)))]
    return "".join(getattr(event, "text", "") for event in events)


async def test_a_conversation_goes_to_the_server_too(small):
    """Its own template makes a prompt of it."""
    fake = sharing(small, models=[{"id": "codellama/CodeLlama-7b-hf", "max_model_len": 4096}])
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        assert await chat(one) == "ab"
        assert await one.link.chat_context() == 4096
    assert fake.asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


async def test_a_conversation_that_is_refused_says_nothing_of_the_server(small):
    """It may be too long, or the model may have no template: completions go on."""
    fake = sharing(small)
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        fake.failures = [refusal(400, "maximum context length")]
        with pytest.raises(EngineError, match=r"refused a request \(HTTP 400\)"):
            await chat(one)
        assert one.link.status.phase == "ready"
        assert await one.ask() == "ab"


async def test_how_much_a_conversation_may_have_is_not_guessed(small):
    """What the model was trained on is not what the server has room for."""
    async with one_window(sharing(small)) as (one, _):
        await one.phase("ready")
        assert await one.link.chat_context() is None


async def test_one_completion_that_is_refused_says_nothing_of_the_server(small):
    """Its prompt may be too long; but where nothing else comes any more, the server has become another one."""
    fake = sharing(small)
    async with one_window(fake) as (one, _):
        await one.phase("ready")
        for _n in range(2):
            for _m in range(2):
                fake.failures = [refusal(400, "maximum context length")]
                await one.refusal(BadRequest)
            assert one.link.status.phase == "ready"
            assert await one.ask() == "ab"
        assert len(fake.probes) == 2
        fake.failures = [refusal(400, "what is that?")] * 3
        for _n in range(3):
            await one.refusal(BadRequest)
        assert (await one.phase("failed")).message.endswith("refused a request (HTTP 400).")


async def test_a_server_that_breaks_off_a_conversation_is_found_out_about_anew(small):
    async with one_window(sharing(small, says=["a", "break"])) as (one, _):
        await one.phase("ready")
        with pytest.raises(EngineUnavailable):
            await chat(one)
        assert (await one.phase("failed")).phase == "failed"
