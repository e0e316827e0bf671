"""Probe servers of each kind over real HTTP."""

from __future__ import annotations

import pytest
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi, refusal
from fakes.scripted_model import ScriptedModel
from starlette.responses import HTMLResponse, JSONResponse, Response
from support.fixtures_remote import connected, own_engine, sharing

from inference.api.engine_errors import EngineError, EngineUnavailable, ModelRefused
from inference.remote import server_profile
from inference.remote.http_client import Address, open_http_client
from inference.remote.prompt_format import ServerDialect
from inference.remote.server_errors import ServerBusy, UnusableServer
from inference.remote.server_profile import ProbeRequest, probe

EXACT = ServerDialect("ids", stop_ids=True, usage=True)


async def probe_error(fake: FakeOpenAi, kind: type[EngineError], model: str = "codellama-7b") -> str:
    with pytest.raises(kind) as error:
        async with connected(fake, model):
            pass
    return str(error.value)


async def test_server_that_supports_ids_gets_the_most_exact_dialect(small):
    """The probe has all fields of a real request, for one token, and contains no user's code."""
    fake = sharing(small)
    async with connected(fake) as client:
        language = client.served.language
    assert (language.dialect, language.model, client.served.limits) == (EXACT, "codellama/CodeLlama-7b-hf", "")
    ids, text = fake.probes
    begin, suffix, middle, end = (small.control_id(piece) for piece in ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"))
    before = small.encode("def largest(numbers):\n    ")
    after = small.encode_continuation("\n\n\nprint(largest([3, 1, 2]))\n")
    assert ids == {
        "model": "codellama/CodeLlama-7b-hf",
        "prompt": [1, begin, *before, suffix, *after, middle],
        "stop_token_ids": sorted([2, end]),
        "max_tokens": 1,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 1,
        "stop": ["\n"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert text["prompt"] == server_profile.COUNTED
    assert fake.paths == ["/health", "/v1/models", "/props", "/v1/completions", "/v1/completions"]


@pytest.mark.parametrize(
    ("takes", "dialect"),
    [
        ({"ids", "stream_options"}, ServerDialect("ids", usage=True)),
        ({"ids"}, ServerDialect("ids")),
        ({"suffix", "stream_options"}, ServerDialect("suffix", usage=True)),
        ({"suffix"}, ServerDialect("suffix")),
    ],
)
async def test_field_that_a_server_refuses_is_not_sent(small, takes, dialect):
    async with connected(sharing(small, takes=frozenset(takes))) as client:
        assert client.served.language.dialect == dialect


async def test_model_that_cannot_infill_gets_text_alone(no_models):
    fake = FakeOpenAi(takes=frozenset(), models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        assert client.served.language.dialect == ServerDialect("text")
        assert client.served.limits.startswith("codellama-34b was not trained to infill")


async def test_server_that_only_appends_the_suffix_is_refused(no_models):
    """Some servers implement OpenAI's ``suffix`` like this."""
    message = await probe_error(FakeOpenAi(takes=frozenset({"suffix", "appends"})), UnusableServer)
    assert message == (
        "there does not accept a suffix, so prompts must be token ids. The vocabulary of 'codellama-7b' is "
        "not on this machine. Run `codellama-ls pull codellama-7b --tokenizer`, which fetches no weights."
    )


async def test_server_without_ids_or_suffix_is_an_error(small):
    message = await probe_error(sharing(small, takes=frozenset()), UnusableServer)
    assert message == (
        "there accepts neither token ids nor text with a suffix: there refused a request (HTTP 400) "
        "(it says: Unrecognized request argument supplied: suffix)."
    )


async def test_wrong_token_count_rejects_ids(small):
    message = await probe_error(sharing(small, extra=3, takes=frozenset({"ids", "stream_options"})), UnusableServer)
    assert message.startswith("there accepts neither token ids")


@pytest.mark.parametrize("more", [{"stream_options", "uncounted"}, set()])
async def test_server_without_counts_must_complete_ids_like_text(small, more):
    """Accepting ids proves nothing: the server may have read the list as text."""
    fake = sharing(small, takes=frozenset({"ids"} | more))
    async with connected(fake) as client:
        assert client.served.language.dialect.kind == "ids"
    ids, text = (body["prompt"] for body in fake.probes[1:3])
    assert (ids, text) == ([1, *small.encode("def add(a, b):\n    return")], "def add(a, b):\n    return")
    message = await probe_error(sharing(small, takes=frozenset({"ids", "prints"} | more)), UnusableServer)
    assert message.startswith("there accepts neither token ids")


async def test_other_vocabulary_is_an_error(small):
    """Ids mean nothing, or something else, to a model with another vocabulary."""
    here = len(small.encode(server_profile.COUNTED))
    message = await probe_error(FakeOpenAi(lambda text: 40), UnusableServer)
    assert message == (
        "there serves codellama/CodeLlama-7b-hf, whose vocabulary is not that of engine.model: a text has 40 tokens "
        f"there, {here} here. Set engine.model to the model that it serves."
    )


async def test_missing_begin_token_is_the_same_vocabulary(small):
    fake = FakeOpenAi(lambda text: len(small.encode(text)))
    async with connected(fake) as client:
        assert client.served.language.dialect == EXACT


async def test_vocabulary_of_another_model_size_is_used(small):
    """All models that infill share one vocabulary: 70B's weights are not needed here."""
    fake = sharing(small, models=[{"id": "codellama/CodeLlama-70b-hf"}])
    async with connected(fake, "codellama-70b") as client:
        assert client.served.language.dialect == EXACT


async def test_unknown_model_needs_a_catalogue_id(no_models):
    message = await probe_error(FakeOpenAi(), UnusableServer, "gpt")
    assert message == (
        "there does not accept a suffix, and the prompt format is unknown because engine.model is not in the "
        "catalogue. Set engine.model to the catalogue's id of the model that it serves (`codellama-ls models`)."
    )


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ([{"id": "other"}, {"id": "codellama-7b"}], "codellama-7b"),
        ([{"id": "other"}, {"id": "CodeLlama-7b-hf"}], "CodeLlama-7b-hf"),
        ([{"id": "other"}, {"id": "code", "root": "codellama/CodeLlama-7b-hf"}], "code"),
        ([{"id": "/models/anything.gguf"}], "/models/anything.gguf"),
        ([{"id": "base"}, {"id": "codellama-7b-of-mine", "parent": "base"}], "base"),
    ],
)
async def test_model_is_found_by_any_name_or_as_the_only_one(small, listed, name):
    async with connected(sharing(small, models=listed)) as client:
        assert client.served.language.model == name


async def test_several_other_models_are_an_error(small):
    message = await probe_error(sharing(small, models=[{"id": "b"}, {"id": "a"}]), ModelRefused)
    assert message == "there serves a, b, but engine.model is 'codellama-7b'. Set it to one of these."


@pytest.mark.parametrize(
    ("entry", "props", "context"),
    [
        ({"max_model_len": 2048}, None, 2048),
        ({}, {"default_generation_settings": {"n_ctx": 1024}}, 1024),
        ({}, None, 16_384),
    ],
)
async def test_context_length_is_the_servers(small, entry, props, context):
    fake = sharing(small, models=[{"id": "codellama-7b", **entry}], props=props)
    async with connected(fake) as client:
        assert client.served.language.context == context


async def test_own_engine_is_recognised_without_a_completion(runtime, no_models):
    """No vocabulary is needed here: the engine builds prompts itself."""
    answerer = ScriptedModel()
    async with own_engine(runtime, answerer) as (_, http):
        served = await probe(http, "there", ProbeRequest("codellama-7b"))
    assert (served.language.model, served.language.dialect.kind) == ("starter", "engine")
    assert answerer.asked == []


async def test_loading_engine_reports_its_progress(runtime):
    async with own_engine(runtime, ScriptedModel(), phase="loading") as (_, http):
        with pytest.raises(ServerBusy) as error:
            await probe(http, "there", ProbeRequest("starter"))
    assert error.value.status is not None
    assert (error.value.status.progress, error.value.retry_seconds) == (40, 1.0)
    assert str(error.value) == "there is not ready: loading weights."


async def test_wrong_token_is_an_error_for_the_user(runtime):
    async with own_engine(runtime, ScriptedModel(), "wrong") as (_, http):
        with pytest.raises(UnusableServer):
            await probe(http, "there", ProbeRequest("starter"))


async def test_loading_server_sets_the_retry_time(no_models):
    fake = FakeOpenAi(failures=[refusal(503, "Loading model", {"Retry-After": "9"})])
    with pytest.raises(ServerBusy) as error:
        async with connected(fake):
            pass
    assert error.value.retry_seconds == 9


@pytest.mark.parametrize("health", [JSONResponse({}), JSONResponse({"phase": 1, "model": [], "version": None})])
@pytest.mark.parametrize("answer", [HTMLResponse("hello"), JSONResponse([1]), JSONResponse({"data": [{"name": "x"}]})])
async def test_response_of_another_api_is_an_error(no_models, health, answer):
    fake = FakeOpenAi(failures=[health, answer])
    message = await probe_error(fake, UnusableServer)
    assert message == "there does not respond as OpenAI's API does. Check the address."


@pytest.mark.parametrize("kind", ["deep", "half"])
async def test_malformed_json_is_handled(no_models, kind):
    """JSON nested deeper than Python parses, and a lone surrogate in a name, which cannot be logged."""
    deep = Response("[" * 200_000 + "]" * 200_000, media_type="application/json")
    half = Response(r'{"data": [{"id": "a\ud83d"}, {"id": "b"}]}', media_type="application/json")
    fake = FakeOpenAi(failures=[deep, {"deep": deep, "half": half}[kind]])
    message = await probe_error(fake, UnusableServer if kind == "deep" else ModelRefused)
    assert (
        message
        == {
            "deep": "there does not respond as OpenAI's API does. Check the address.",
            "half": "there serves a\ufffd, b, but engine.model is 'codellama-7b'. Set it to one of these.",
        }[kind]
    )


async def test_body_beyond_the_size_cap_is_not_read(no_models):
    """A body without end would fill the memory."""
    fake = FakeOpenAi(failures=[Response(b" " * (9 << 20))])
    message = await probe_error(fake, EngineUnavailable)
    assert message == "there sent a response that does not end."


async def test_server_without_openai_routes_is_an_error(no_models):
    fake = FakeOpenAi(failures=[HTMLResponse("", 404), HTMLResponse("", 404)])
    assert await probe_error(fake, UnusableServer) == "there does not offer OpenAI's API. Check the address."


async def test_server_without_models_is_an_error(no_models):
    assert await probe_error(FakeOpenAi(models=[]), UnusableServer) == "there serves no model."


async def test_unreachable_server_is_unavailable(no_models):
    async with listening(FakeOpenAi().app()) as url:
        pass
    async with open_http_client(Address(url)) as http:
        with pytest.raises(
            EngineUnavailable, match=r"there cannot be reached\. Check that it is running, and its address"
        ):
            await probe(http, "there", ProbeRequest("starter"))


async def test_probe_of_a_silent_server_times_out(small, monkeypatch):
    monkeypatch.setattr(server_profile, "PROBE_SECONDS", 0.2)
    fake = sharing(small, silent=True)
    with pytest.raises(EngineUnavailable, match="there did not respond to a probe within 0 s"):
        async with connected(fake):
            pass
