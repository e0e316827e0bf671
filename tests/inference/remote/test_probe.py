"""What is found out about a server, of each kind there is, over real HTTP."""

from __future__ import annotations

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi, refusal
from starlette.responses import HTMLResponse, JSONResponse, Response
from support.fixtures_remote import connected, own_engine, sharing

from inference.api.errors import EngineError, EngineUnavailable, ModelRefused
from inference.remote import server_profile as probing
from inference.remote.errors import Busy, NotAdmitted, NotUnderstood
from inference.remote.http_client import Address, open_http_client
from inference.remote.prompt_format import ServerDialect
from inference.remote.server_profile import ProbeRequest, probe

EXACT = ServerDialect("ids", stop_ids=True, usage=True)


async def refused(fake: FakeOpenAi, kind: type[EngineError], model: str = "codellama-7b") -> str:
    with pytest.raises(kind) as error:
        async with connected(fake, model):
            pass
    return str(error.value)


async def test_a_server_that_takes_ids_is_asked_as_exactly_as_can_be(small):
    """The probe is what a real request is, but for one token, and nothing of anybody's."""
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
    assert text["prompt"] == probing.COUNTED
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
async def test_what_a_server_refuses_it_is_not_sent(small, takes, dialect):
    async with connected(sharing(small, takes=frozenset(takes))) as client:
        assert client.served.language.dialect == dialect


async def test_a_model_that_does_not_infill_may_be_asked_with_text_alone(no_models):
    fake = FakeOpenAi(takes=frozenset(), models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        assert client.served.language.dialect == ServerDialect("text")
        assert client.served.limits.startswith("codellama-34b was not trained to infill")


async def test_a_server_that_only_puts_the_suffix_behind_its_answer_does_not_infill(no_models):
    """Some servers understand OpenAI's ``suffix`` so."""
    said = await refused(FakeOpenAi(takes=frozenset({"suffix", "appends"})), NotUnderstood)
    assert said == (
        "there takes no text with a suffix, so it is to be asked with token ids. The vocabulary of 'codellama-7b' is "
        "not on this machine: run `codellama-ls pull codellama-7b --tokenizer`, which fetches no weights."
    )


async def test_a_server_that_does_neither_says_why(small):
    said = await refused(sharing(small, takes=frozenset()), NotUnderstood)
    assert said == (
        "there takes neither token ids nor text with a suffix: there refused a request (HTTP 400) "
        "(it says: Unrecognized request argument supplied: suffix)."
    )


async def test_a_server_that_counts_other_tokens_than_it_is_sent_does_not_read_ids(small):
    said = await refused(sharing(small, extra=3, takes=frozenset({"ids", "stream_options"})), NotUnderstood)
    assert said.startswith("there takes neither token ids")


@pytest.mark.parametrize("more", [{"stream_options", "uncounted"}, set()])
async def test_a_server_that_counts_nothing_must_answer_ids_as_it_answers_text(small, more):
    """That it took them shows nothing: it may have read their list as a text."""
    fake = sharing(small, takes=frozenset({"ids"} | more))
    async with connected(fake) as client:
        assert client.served.language.dialect.kind == "ids"
    ids, text = (body["prompt"] for body in fake.probes[1:3])
    assert (ids, text) == ([1, *small.encode("def add(a, b):\n    return")], "def add(a, b):\n    return")
    said = await refused(sharing(small, takes=frozenset({"ids", "prints"} | more)), NotUnderstood)
    assert said.startswith("there takes neither token ids")


async def test_another_vocabulary_is_noticed_before_it_writes_nonsense(small):
    """Ids mean nothing, or worse something else, to a model of another vocabulary."""
    here = len(small.encode(probing.COUNTED))
    said = await refused(FakeOpenAi(lambda text: 40), NotUnderstood)
    assert said == (
        "there serves codellama/CodeLlama-7b-hf, whose vocabulary is not that of engine.model (a text of "
        f"{here} tokens has 40 there): set engine.model to what it serves."
    )


async def test_a_server_that_puts_no_begin_token_before_text_has_the_same_vocabulary(small):
    fake = FakeOpenAi(lambda text: len(small.encode(text)))
    async with connected(fake) as client:
        assert client.served.language.dialect == EXACT


async def test_the_vocabulary_of_another_size_serves_too(small):
    """Meta published one for all that infill: nobody needs 70B's gigabytes to ask for it."""
    fake = sharing(small, models=[{"id": "codellama/CodeLlama-70b-hf"}])
    async with connected(fake, "codellama-70b") as client:
        assert client.served.language.dialect == EXACT


async def test_a_model_that_nobody_knows_is_asked_for_by_its_id(no_models):
    said = await refused(FakeOpenAi(), NotUnderstood, "gpt")
    assert said == (
        "there takes no text with a suffix, and engine.model names no model that is known here, which would say how "
        "to ask it otherwise: set engine.model to the catalogue's id of what it serves (`codellama-ls models`)."
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
async def test_the_model_is_found_by_any_of_its_names_or_as_the_only_one(small, listed, name):
    async with connected(sharing(small, models=listed)) as client:
        assert client.served.language.model == name


async def test_which_of_several_other_models_is_not_guessed(small):
    said = await refused(sharing(small, models=[{"id": "b"}, {"id": "a"}]), ModelRefused)
    assert said == "there serves a, b, and engine.model is 'codellama-7b': set it to one of these."


@pytest.mark.parametrize(
    ("entry", "props", "context"),
    [
        ({"max_model_len": 2048}, None, 2048),
        ({}, {"default_generation_settings": {"n_ctx": 1024}}, 1024),
        ({}, None, 16_384),
    ],
)
async def test_the_context_is_the_servers(small, entry, props, context):
    fake = sharing(small, models=[{"id": "codellama-7b", **entry}], props=props)
    async with connected(fake) as client:
        assert client.served.language.context == context


async def test_an_engine_of_ours_is_recognised_and_not_asked_to_write(runtime, no_models):
    """No vocabulary is needed here: it builds prompts itself."""
    answerer = ScriptedAnswerer()
    async with own_engine(runtime, answerer) as (_, http):
        served = await probe(http, "there", ProbeRequest("codellama-7b"))
    assert (served.language.model, served.language.dialect.kind) == ("starter", "engine")
    assert answerer.asked == []


async def test_an_engine_of_ours_that_loads_says_how_far_it_is(runtime):
    async with own_engine(runtime, ScriptedAnswerer(), phase="loading") as (_, http):
        with pytest.raises(Busy) as error:
            await probe(http, "there", ProbeRequest("starter"))
    assert error.value.status is not None
    assert (error.value.status.progress, error.value.rest) == (40, 1.0)
    assert str(error.value) == "there is not ready: loading weights."


async def test_a_wrong_token_is_a_matter_for_a_person(runtime):
    async with own_engine(runtime, ScriptedAnswerer(), "wrong") as (_, http):
        with pytest.raises(NotAdmitted):
            await probe(http, "there", ProbeRequest("starter"))


async def test_a_server_that_loads_is_asked_again_when_it_says(no_models):
    fake = FakeOpenAi(failures=[refusal(503, "Loading model", {"Retry-After": "9"})])
    with pytest.raises(Busy) as error:
        async with connected(fake):
            pass
    assert error.value.rest == 9


@pytest.mark.parametrize("health", [JSONResponse({}), JSONResponse({"phase": 1, "model": [], "version": None})])
@pytest.mark.parametrize("answer", [HTMLResponse("hello"), JSONResponse([1]), JSONResponse({"data": [{"name": "x"}]})])
async def test_something_else_that_answers_is_recognised(no_models, health, answer):
    fake = FakeOpenAi(failures=[health, answer])
    said = await refused(fake, NotUnderstood)
    assert said == "there answers in a way that is not OpenAI's API: check the address."


@pytest.mark.parametrize("kind", ["deep", "half"])
async def test_odd_json_is_recognised(no_models, kind):
    """Nested deeper than Python reads; and with half a character in a name, which can't be written into a log."""
    deep = Response("[" * 200_000 + "]" * 200_000, media_type="application/json")
    half = Response(r'{"data": [{"id": "a\ud83d"}, {"id": "b"}]}', media_type="application/json")
    fake = FakeOpenAi(failures=[deep, {"deep": deep, "half": half}[kind]])
    said = await refused(fake, NotUnderstood if kind == "deep" else ModelRefused)
    assert (
        said
        == {
            "deep": "there answers in a way that is not OpenAI's API: check the address.",
            "half": "there serves a\ufffd, b, and engine.model is 'codellama-7b': set it to one of these.",
        }[kind]
    )


async def test_a_body_without_end_is_not_read_to_it(no_models):
    """It would fill the memory."""
    fake = FakeOpenAi(failures=[Response(b" " * (9 << 20))])
    said = await refused(fake, EngineUnavailable)
    assert said == "there does not come to an end with an answer."


async def test_a_server_without_the_route_is_recognised(no_models):
    fake = FakeOpenAi(failures=[HTMLResponse("", 404), HTMLResponse("", 404)])
    assert await refused(fake, NotUnderstood) == "there is no server with OpenAI's API: check the address."


async def test_a_server_without_models_says_so(no_models):
    assert await refused(FakeOpenAi(models=[]), NotUnderstood) == "there serves no model."


async def test_nobody_there(no_models):
    async with listening(FakeOpenAi().app()) as url:
        pass
    async with open_http_client(Address(url)) as http:
        with pytest.raises(EngineUnavailable, match="there can't be reached: check that it runs, and its address"):
            await probe(http, "there", ProbeRequest("starter"))


async def test_a_server_that_never_answers_is_not_waited_for(small, monkeypatch):
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.2)
    fake = sharing(small, silent=True)
    with pytest.raises(EngineUnavailable, match="there did not answer a first question in 0 s"):
        async with connected(fake):
            pass
