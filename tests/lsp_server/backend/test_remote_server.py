"""A remote server as a backend: failures, waiting times and recovery."""

from __future__ import annotations

import asyncio

import pytest
from fakes.llama_server import listening
from fakes.openai_server import refusal
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.fixtures_remote import TOKEN, address_of, sharing
from support.remote_server_harness import RemoteServerHarness, remote_server, remote_server_on
from support.waiting import settle, until

from inference.api.engine_errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.requests import ChatRequest, CompletionRequest
from inference.remote.http_client import Address
from inference.text.prompts import Message
from lsp_server.backend.allowed_servers import NotAllowedError
from lsp_server.backend.backend import RETRY_AFTER


async def test_reachable_server_is_ready(small):
    async with remote_server_on(sharing(small)) as (one, url):
        status = await one.phase("ready")
        assert (status.model, status.message) == (
            "codellama/CodeLlama-7b-hf",
            f"codellama/CodeLlama-7b-hf at {url}",
        )
        assert one.link.server == url
        assert await one.ask() == "ab"
    assert one.warnings == []


async def test_server_is_probed_once(small):
    fake = sharing(small)
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        for _n in range(3):
            await one.ask()
    assert (len(fake.probes), len(fake.asked)) == (2, 3)


async def test_request_during_the_probe_fails_at_once(small):
    async with remote_server_on(sharing(small, silent=True)) as (one, _):
        assert await one.refusal() == "connecting"


async def test_unreachable_server_is_retried_with_back_off(small):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        pass
    urls = [url]
    async with remote_server(lambda: Address(urls[0])) as one:
        message = f"{url} cannot be reached. Check that it is running, and its address."
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
async def test_busy_server_gets_no_request_until_retry_after(small, status):
    fake = sharing(small)
    async with remote_server_on(fake) as (one, url):
        await one.phase("ready")
        fake.failures = [refusal(status, "slow down", {"Retry-After": "30"})]
        message = f"{url} is busy or not ready yet; retrying in 30 s."
        assert await one.refusal() == message
        asked = len(fake.paths)
        one.clock.advance(29.9)
        assert await one.refusal() == message
        assert len(fake.paths) == asked
        one.clock.advance(0.2)
        assert await one.ask() == "ab"
    assert len(fake.probes) == 2


async def test_busy_server_is_probed_again_after_retry_after(small):
    fake = sharing(small, failures=[refusal(503, "Loading model", {"Retry-After": "9"})])
    async with remote_server_on(fake) as (one, _):
        assert await one.waits(1) == [9]
        assert one.statuses[-1].phase == "loading"
        one.clock.go_on.set()
        await one.phase("ready")


async def test_retry_after_zero_waits_one_second(small):
    """Otherwise a session would retry in a tight loop."""
    fake = sharing(small, failures=[refusal(503, "Loading model", {"Retry-After": "0"})])
    async with remote_server_on(fake) as (one, _):
        assert await one.waits(1) == [1]
        one.clock.go_on.set()
        await one.phase("ready")
        fake.failures = [refusal(429, "slow down", {"Retry-After": "0"})]
        await one.refusal()
        asked = len(fake.paths)
        one.clock.advance(0.9)
        await one.refusal()
        assert len(fake.paths) == asked


async def test_server_that_breaks_off_is_probed_again(small):
    """Another server may have taken its place."""
    fake = sharing(small)
    async with remote_server_on(fake) as (one, url):
        await one.phase("ready")
        fake.says, before = ["a", "break"], len(fake.probes)
        message = f"{url} closed the connection in the middle of a request."
        assert await one.refusal() == message
        assert await one.refusal() == message
        await one.waits(1)
        fake.says, fake.takes = ["c"], frozenset({"ids"})
        one.clock.go_on.set()
        await until(lambda: one.statuses[-1].phase == "ready" and len(fake.probes) > before)
        assert await one.ask() == "c"
    assert "stop_token_ids" not in fake.asked[-1]


async def test_failed_request_leaves_other_requests_running(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        first = asyncio.ensure_future(one.ask())
        await until(lambda: fake.asked)
        fake.failures = [refusal(500, "a bug")]
        await one.refusal()
        fake.go.set()
        assert await first == "ab"


async def test_wrong_token_is_retried_on_the_next_request(small):
    fake = sharing(small, token="right")
    token = ["wrong"]
    async with listening(fake.app()) as url, remote_server(lambda: Address(url, token[0])) as one:
        assert (await one.phase("failed")).message.startswith(f"{url} rejected the token")
        assert await one.waits(1) == [RETRY_AFTER]
        one.clock.go_on.set()
        asked = len(fake.paths)
        await settle()
        assert len(fake.paths) == asked
        token[0] = "right"
        await one.refusal()
        await one.phase("ready")
        assert await one.ask() == "ab"


async def test_error_in_the_users_file_is_reported(small):
    def find() -> Address:
        raise NotAllowedError("remote.toml must be a file of yours.")

    async with remote_server(find) as one:
        assert (await one.phase("failed")).message == "remote.toml must be a file of yours."
        assert await one.refusal() == "remote.toml must be a file of yours."


async def test_unexpected_exception_does_not_end_the_connection(small):
    def find() -> Address:
        raise exceptions.pop()

    exceptions: list[Exception] = [NotAllowedError("and again"), ZeroDivisionError()]
    async with remote_server(find) as one:
        assert (await one.phase("failed")).message.endswith("cannot be used. See the language server's log.")
        assert await one.waits(1) == [RETRY_AFTER]
        one.clock.go_on.set()
        await settle()
        await one.refusal()
        await until(lambda: one.statuses[-1].message == "and again")


async def test_missing_adapter_is_no_failure_of_the_server(small):
    fake = sharing(small)
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        await one.refusal(ModelRefused, model="mine")
        assert await one.ask() == "ab"
    assert len(fake.probes) == 2


async def test_unencrypted_connection_is_warned_about(small):
    """0.0.0.0 reaches this machine but is no loopback address."""
    async with listening(sharing(small).app()) as here:
        url = here.replace("127.0.0.1", "0.0.0.0")
        async with remote_server(lambda: Address(url)) as one:
            await one.phase("ready")
    assert one.warnings == [f"Your code is sent to {url} unencrypted. Use an https:// address."]


async def test_loading_engine_reports_its_progress(runtime):
    async with (
        serving(runtime, ScriptedModel(["a"]), phase="loading", token=TOKEN) as running,
        remote_server(lambda: address_of(running)) as one,
    ):
        await one.waits(1)
        one.clock.go_on.set()
        await one.waits(2)
        (status,) = one.statuses  # an unchanged status is not reported again
        assert (status.phase, status.progress, status.message) == ("loading", 40, "loading weights")
        running.service.board.set(phase="ready", message="ready")
        one.clock.go_on.set()
        status = await one.phase("ready")
        assert status.model == "starter"
        assert await one.ask() == "a"


async def test_closing_early_cancels_the_request(small):
    fake = sharing(small, says=["a", "…"])
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        stream = one.link.complete(CompletionRequest("x"))
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(fake.left.wait(), 10)


async def chat(one: RemoteServerHarness) -> str:
    events = [event async for event in one.link.chat(ChatRequest((Message("user", "Hi"),)))]
    return "".join(getattr(event, "text", "") for event in events)


async def test_chat_goes_to_the_server(small):
    """The server applies its own template."""
    fake = sharing(small, models=[{"id": "codellama/CodeLlama-7b-hf", "max_model_len": 4096}])
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        assert await chat(one) == "ab"
        assert await one.link.chat_context() == 4096
    assert fake.asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


async def test_refused_chat_leaves_the_server_ready(small):
    """The chat may be too long, or the model may have no template."""
    fake = sharing(small)
    async with remote_server_on(fake) as (one, _):
        await one.phase("ready")
        fake.failures = [refusal(400, "maximum context length")]
        with pytest.raises(EngineError, match=r"refused a request \(HTTP 400\)"):
            await chat(one)
        assert one.link.status.phase == "ready"
        assert await one.ask() == "ab"


async def test_chat_context_is_unknown_unless_reported(small):
    """The model's trained context length is not the server's."""
    async with remote_server_on(sharing(small)) as (one, _):
        await one.phase("ready")
        assert await one.link.chat_context() is None


async def test_three_refused_completions_in_a_row_fail_the_server(small):
    """One may be due to its prompt; three in a row mean that the server has changed."""
    fake = sharing(small)
    async with remote_server_on(fake) as (one, _):
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


async def test_broken_chat_fails_the_server(small):
    async with remote_server_on(sharing(small, says=["a", "break"])) as (one, _):
        await one.phase("ready")
        with pytest.raises(EngineUnavailable):
            await chat(one)
        assert (await one.phase("failed")).phase == "failed"
