"""The scripted language model, asked with the real openai client over real HTTP."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from fleet.cli.dev_llm import llm as llm_command
from fleet.dev.llm import (
    Behaviour,
    Fault,
    PortUnavailable,
    ScriptedLLM,
    ScriptedNotStarted,
    answers,
    start_process,
)
from fleet.dev.llm import process as llm_process
from fleet.dev.llm.faults import Call, Script

JOKE = "Write your best joke about pirates."
CRITIQUE = "Give a thorough analysis and critique of the following joke: "


@pytest.fixture
async def server() -> AsyncIterator[ScriptedLLM]:
    async with ScriptedLLM() as scripted:
        yield scripted


@pytest.fixture
async def client(server: ScriptedLLM) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(server, max_retries=0) as opened:
        yield opened


def client_of(server: ScriptedLLM, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="scripted", **options)


async def ask(client: openai.AsyncOpenAI, prompt: str, **options: Any) -> str:
    answer = await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": prompt}], **options
    )
    return answer.choices[0].message.content or ""


async def pieces(client: openai.AsyncOpenAI, prompt: str) -> AsyncIterator[str]:
    async with await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": prompt}], stream=True
    ) as chunks:
        async for chunk in chunks:
            yield chunk.choices[0].delta.content or ""


async def gather_into(found: list[str], source: AsyncIterator[str]) -> None:
    async for piece in source:
        found.append(piece)  # noqa: PERF401 - what came before an error is kept


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for is in a server, not an event
            await asyncio.sleep(0.01)


def behave(server: ScriptedLLM, *faults: Fault, **settings: float) -> None:
    server.script.change({**settings, "faults": faults})


class TestAnswers:
    @pytest.mark.parametrize(
        "topic",
        ["pirates", "U.S.A.", "wow!", "jokes about jokes", "{0} and {braces}", "two\nlines", "ö🙂"],
    )
    def test_a_joke_names_its_topic_word_for_word(self, topic: str) -> None:
        """A load test can see from the joke which topic it was for."""
        prompt = f"Write your best joke about {topic}."
        for key in ("0", "1", "2", "3", "4", "5"):
            assert topic in answers.answer(prompt, key)

    def test_a_topic_ends_before_the_prompts_full_stop(self) -> None:
        """The full stop is the prompt's, not the topic's."""
        assert "deal with pirates. I said" in answers.answer(JOKE, "1")

    @pytest.mark.parametrize("key", ["0", "1", "2"])
    def test_a_critique_quotes_its_joke_word_for_word(self, key: str) -> None:
        """A load test can see from the critique which joke it was for, whatever is in it."""
        joke = " A joke about {0}?\n\nNobody got the following joke: ever.  "
        assert joke in answers.answer(CRITIQUE + joke, key)

    def test_anything_else_is_echoed_as_scripted(self) -> None:
        """An unknown prompt gets an answer that cannot be taken for a model's."""
        answer = answers.answer("What is the capital of France?", "0")
        assert "Scripted answer, there is no model behind it" in answer
        assert "What is the capital of France?" in answer

    def test_streamed_pieces_join_to_the_text(self) -> None:
        """Nothing is lost between the pieces, white space included."""
        text = "  Two words,\n\nthen  more. \n"
        found = answers.pieces(text)
        assert "".join(found) == text
        assert len(found) == 4


class TestChat:
    async def test_same_messages_same_answer(self, client: openai.AsyncOpenAI) -> None:
        """An answer depends on the messages only, so it is the same at every call."""
        first = await ask(client, JOKE)
        assert await ask(client, JOKE, temperature=1.5, seed=7) == first
        async with ScriptedLLM() as other, client_of(other) as elsewhere:
            assert await ask(elsewhere, JOKE) == first

    async def test_jokes_differ(self, client: openai.AsyncOpenAI) -> None:
        """Different topics get different templates."""
        jokes = [
            (await ask(client, f"Write your best joke about {n}.")).replace(str(n), "?")
            for n in range(20)
        ]
        assert len(set(jokes)) > 3

    async def test_every_answer_is_labelled(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """Model, fingerprint, header and the list of models say that it is scripted."""
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-9", messages=[{"role": "user", "content": JOKE}]
        )
        answer = raw.parse()
        assert (answer.model, answer.system_fingerprint) == ("scripted", "scripted")
        assert raw.headers["X-Scripted"] == "true"
        assert [model.id async for model in client.models.list()] == ["scripted"]
        assert server.counts.report()["scripted"] is True

    async def test_usage_adds_up(self, client: openai.AsyncOpenAI) -> None:
        """Token counts are there and grow with the prompt."""
        short, long = [
            await client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "word " * words}]
            )
            for words in (5, 500)
        ]
        assert short.usage is not None
        assert long.usage is not None
        assert 0 < short.usage.prompt_tokens < long.usage.prompt_tokens
        total = long.usage.prompt_tokens + long.usage.completion_tokens
        assert long.usage.total_tokens == total

    async def test_a_stream_has_the_same_text(self, client: openai.AsyncOpenAI) -> None:
        """A streamed answer comes in many pieces that join to the unstreamed one."""
        found = [piece async for piece in pieces(client, JOKE)]
        assert len(found) > 5
        assert "".join(found) == await ask(client, JOKE)

    async def test_a_stream_is_server_sent_events(self, server: ScriptedLLM) -> None:
        """On the wire a stream is `data:` lines, the usage if asked for, then [DONE]."""
        request = {
            "messages": [{"role": "user", "content": JOKE}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        url = f"{server.base_url}/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=request) as response:
            assert response.headers["X-Scripted"] == "true"
            assert response.content_type == "text/event-stream"
            events = (await response.text()).strip().split("\n\n")
        assert all(event.startswith("data: ") for event in events)
        assert events[-1] == "data: [DONE]"
        assert '"completion_tokens"' in events[-2]

    async def test_content_may_come_in_parts(self, client: openai.AsyncOpenAI) -> None:
        """A prompt given as parts is the prompt given as text."""
        answer = await client.chat.completions.create(
            model="any",
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Write your best joke "},
                        {"type": "text", "text": "about pirates."},
                    ],
                }
            ],
        )
        assert answer.choices[0].message.content == await ask(client, JOKE)

    async def test_a_wrong_request_is_refused(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """A request that is none gets OpenAI's 400 and is counted apart."""
        with pytest.raises(openai.BadRequestError, match="scripted: messages"):
            await client.chat.completions.create(model="any", messages=[])
        assert server.counts.report()["invalid"] == 1
        assert server.counts.report()["requests"] == 0


class TestFaults:
    async def test_429_is_retried_after_what_it_says(self, server: ScriptedLLM) -> None:
        """The next N calls are limited; a client that retries gets its answer after them."""
        behave(server, Fault(kind="429", next=2, retry_after_seconds=0.01))
        async with client_of(server, max_retries=2) as patient:
            assert "pirates" in await ask(patient, JOKE)
        report = server.counts.report()
        assert (report["requests"], report["answered"], report["faults"]["429"]) == (3, 1, 2)

    async def test_429_names_the_wait(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """Without retries the limit reaches the caller, with Retry-After and the label."""
        behave(server, Fault(kind="429", retry_after_seconds=7))
        with pytest.raises(openai.RateLimitError, match="scripted: injected") as caught:
            await ask(client, JOKE)
        assert caught.value.response.headers["Retry-After"] == "7"
        assert caught.value.response.headers["X-Scripted"] == "true"

    async def test_500(self, server: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
        """An injected error is the server's."""
        behave(server, Fault(kind="500"))
        with pytest.raises(openai.InternalServerError, match="scripted: injected"):
            await ask(client, JOKE)

    async def test_a_hang_ends_with_the_callers_patience(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """A hanging call times out at the caller, and leaves nothing behind in the server."""
        behave(server, Fault(kind="hang"))
        with pytest.raises(openai.APITimeoutError):
            await ask(client, JOKE, timeout=0.1)
        await until(lambda: server.counts.in_flight == 0)
        assert server.counts.report()["answered"] == 0

    async def test_a_cut_connection(self, server: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
        """A cut call has no answer at all, and the next one works."""
        behave(server, Fault(kind="cut", next=1))
        with pytest.raises(openai.APIConnectionError):
            await ask(client, JOKE)
        assert "pirates" in await ask(client, JOKE)

    async def test_a_cut_stream_breaks_off(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """A cut stream gives the beginning of the answer, then an error."""
        whole = await ask(client, JOKE)
        behave(server, Fault(kind="cut"))
        found: list[str] = []
        with pytest.raises(openai.APIConnectionError):
            await gather_into(found, pieces(client, JOKE))
        assert whole.startswith("".join(found))
        assert 0 < len("".join(found)) < len(whole)

    async def test_a_fault_for_some_prompts(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """A fault can be aimed at the prompts with a text; the others are answered."""
        behave(server, Fault(kind="500", containing="pirates"))
        with pytest.raises(openai.InternalServerError):
            await ask(client, JOKE)
        assert "ninjas" in await ask(client, JOKE.replace("pirates", "ninjas"))

    async def test_stop_cuts_what_hangs(self) -> None:
        """Stopping does not wait for calls that never end."""
        hanging = Behaviour(faults=(Fault(kind="hang"),))
        async with ScriptedLLM(hanging) as server, client_of(server, max_retries=0) as client:
            call = asyncio.create_task(ask(client, JOKE))
            await until(lambda: server.counts.in_flight == 1)
            await server.stop()
            with pytest.raises(openai.APIConnectionError):
                await call


def struck(behaviour: Behaviour, calls: Iterable[Call]) -> dict[str, str]:
    script = Script(behaviour)
    faults = {call.key: script.strike(call) for call in calls}
    return {key: fault.kind for key, fault in faults.items() if fault}


class TestChance:
    CALLS = tuple(Call(key=f"{n:x}", prompt=f"prompt {n}", repetition=0) for n in range(1000))
    HALF = Behaviour(faults=(Fault(kind="500", rate=0.5),))

    def test_a_rate_strikes_that_share(self) -> None:
        """About half of the calls are struck at a rate of one half."""
        assert 430 < len(struck(self.HALF, self.CALLS)) < 570

    def test_the_same_calls_meet_the_same_faults_in_any_order(self) -> None:
        """What goes wrong by chance does not depend on which call arrives first."""
        assert struck(self.HALF, self.CALLS) == struck(self.HALF, self.CALLS[::-1])

    def test_another_seed_strikes_others(self) -> None:
        """The seed decides whom chance hits."""
        other = self.HALF.model_copy(update={"seed": 1})
        assert struck(self.HALF, self.CALLS) != struck(other, self.CALLS)

    def test_a_repeated_call_is_drawn_anew(self) -> None:
        """A struck call may succeed when it is tried again."""
        again = [Call(call.key, call.prompt, repetition=1) for call in self.CALLS]
        assert struck(self.HALF, self.CALLS) != struck(self.HALF, again)

    def test_two_faults_are_drawn_apart(self) -> None:
        """A second fault by rate strikes its share of what the first leaves."""
        faults = (Fault(kind="429", rate=0.5), Fault(kind="500", rate=0.5))
        kinds = list(struck(Behaviour(faults=faults), self.CALLS).values())
        assert 430 < kinds.count("429") < 570
        assert 180 < kinds.count("500") < 320

    def test_jitter_is_added_to_the_latency(self) -> None:
        """Answers take the latency and up to the jitter more, each call its own."""
        script = Script(Behaviour(latency_seconds=1, jitter_seconds=0.5))
        delays = [script.delay_seconds(call) for call in self.CALLS]
        assert 1 <= min(delays) < 1.1
        assert 1.4 < max(delays) <= 1.5


class TestControl:
    async def post(self, server: ScriptedLLM, body: str | bytes) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.root_url}/control", data=body) as response,
        ):
            return response.status, await response.text()

    async def test_the_behaviour_changes_while_it_runs(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """POST /control sets what it names and keeps the rest, also what is left of a fault."""
        await self.post(server, b'{"faults": [{"kind": "500", "next": 2}]}')
        with pytest.raises(openai.InternalServerError):
            await ask(client, JOKE)
        await self.post(server, b'{"latency_seconds": 0.01}')
        with pytest.raises(openai.InternalServerError):
            await ask(client, JOKE)
        assert "pirates" in await ask(client, JOKE)
        assert server.script.behaviour.latency_seconds == 0.01

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            (b'{"latencyseconds": 1}', "latencyseconds"),
            (b'{"latency_seconds": -1}', "latency_seconds"),
            (b'{"faults": [{"kind": "418"}]}', "faults.0.kind"),
            (b'{"self": 1}', "self"),
            (b"[1]", "not a JSON object"),
            (b"{", "not JSON"),
            (b"\xff", "not JSON"),
        ],
    )
    async def test_a_wrong_setting_is_refused(
        self, server: ScriptedLLM, body: bytes, complaint: str
    ) -> None:
        """A setting that cannot be is named, and nothing changes."""
        before = server.script.behaviour
        status, text = await self.post(server, body)
        assert status == 400
        assert complaint in text
        assert server.script.behaviour == before

    def test_a_fault_strikes_at_least_once(self) -> None:
        """Zero calls are no fault; the mistake is found where it is made."""
        with pytest.raises(ValidationError, match="next"):
            Fault(kind="500", next=0)


class TestCounts:
    async def test_what_was_paid_for(self, server: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
        """The counts tell calls, answers and faults, and which prompts were asked again."""
        other = JOKE.replace("pirates", "ninjas")
        behave(server, Fault(kind="500", next=1))
        with pytest.raises(openai.InternalServerError):
            await ask(client, JOKE)
        await ask(client, JOKE)
        await ask(client, other)
        report = server.counts.report()
        assert (report["requests"], report["answered"], report["in_flight"]) == (3, 2, 0)
        assert report["faults"] == {"429": 0, "500": 1, "hang": 0, "cut": 0}
        assert sorted(report["started_by_prompt"].values()) == [1, 2]
        assert sorted(report["answered_by_prompt"].values()) == [1, 1]
        [again] = report["repeated"]
        assert (again["prompt"], again["started"], again["answered"]) == (JOKE, 2, 1)
        assert report["prompt_tokens"] > 0
        assert report["completion_tokens"] > 0

    async def test_an_answer_is_paid_for_when_its_caller_is_gone(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """A call whose caller was killed is answered and counted all the same."""
        behave(server, latency_seconds=0.3)
        call = asyncio.create_task(ask(client, JOKE))
        await until(lambda: server.counts.in_flight == 1)
        call.cancel()
        await asyncio.wait([call])
        assert server.counts.report()["answered"] == 0
        await until(lambda: server.counts.in_flight == 0)
        assert server.counts.report()["answered"] == 1

    async def test_reset_keeps_what_is_in_flight(
        self, server: ScriptedLLM, client: openai.AsyncOpenAI
    ) -> None:
        """After a reset only the calls on their way are left, and they count when they end."""
        await ask(client, JOKE)
        behave(server, latency_seconds=0.3)
        call = asyncio.create_task(ask(client, JOKE))
        await until(lambda: server.counts.in_flight == 1)
        url = f"{server.root_url}/stats/reset"
        async with aiohttp.ClientSession() as session, session.post(url) as response:
            report = await response.json()
        assert (report["requests"], report["answered"], report["in_flight"]) == (0, 0, 1)
        await call
        assert server.counts.report()["answered"] == 1

    async def test_many_calls_are_carried_at_once(self, server: ScriptedLLM) -> None:
        """Hundreds of calls are in flight at the same time, and stats still answer."""
        behave(server, Fault(kind="hang"))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            request = {"messages": [{"role": "user", "content": JOKE}]}
            url = f"{server.base_url}/chat/completions"
            calls = [asyncio.create_task(session.post(url, json=request)) for _ in range(300)]
            await until(lambda: server.counts.in_flight == 300)
            async with session.get(f"{server.root_url}/stats") as response:
                assert (await response.json())["in_flight"] == 300
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        await until(lambda: server.counts.in_flight == 0)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


class TestStarting:
    async def test_a_taken_port_is_a_clear_error(self, taken_port: int) -> None:
        """The error names the address, the reason and the way out."""
        with pytest.raises(PortUnavailable, match=rf":{taken_port}: Address.*in use; choose"):
            await ScriptedLLM().start(taken_port)

    def test_the_command_passes_the_error_on(self, taken_port: int) -> None:
        """`fleet dev llm` leaves the sentence to the command line's own handling."""
        result = CliRunner().invoke(llm_command, ["--port", str(taken_port)])
        assert isinstance(result.exception, PortUnavailable)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_command_says_what_it_is_and_ends_cleanly(self, number: signal.Signals) -> None:
        """One line tells that it is scripted and how to use it; Ctrl-C and SIGTERM are no error."""
        code = "from fleet.cli.dev_llm import llm; llm()"
        command = [sys.executable, "-c", code, "--port", "0", "--latency", "0", "--fail-rate", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            base_url = line.split("OPENAI_BASE_URL=")[1].split()[0]
            status = chat_status(base_url)
            process.send_signal(number)
            rest = process.stdout.read()
        assert "Scripted LLM, no model behind it" in line
        assert "OPENAI_API_KEY=scripted" in line
        assert status == 429
        assert rest == ""
        assert process.returncode == 0


def chat_status(base_url: str) -> int:
    connection = HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    body = '{"messages": [{"role": "user", "content": "hello"}]}'
    try:
        connection.request("POST", "/v1/chat/completions", body)
        return connection.getresponse().status
    finally:
        connection.close()


class TestProcess:
    def test_it_runs_in_the_background_until_it_is_stopped(self, tmp_path: Path) -> None:
        """A started process answers at once, is controlled over HTTP, and stop ends it."""
        process = start_process(log=tmp_path / "logs" / "llm.log", latency_seconds=0)
        try:
            assert chat_status(process.base_url) == 200
            assert process.stats()["answered"] == 1
            process.reset()
            assert process.stats()["answered"] == 0
            process.change(faults=[{"kind": "500"}])
            assert chat_status(process.base_url) == 500
            with pytest.raises(ValueError, match="no_such"):
                process.change(no_such=1)
        finally:
            process.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
        process.stop()
        assert "Scripted LLM, no model behind it" in (tmp_path / "logs" / "llm.log").read_text()

    def test_one_that_cannot_start_says_why(self, tmp_path: Path, taken_port: int) -> None:
        """The reason in the log is in the error, with the way to the log."""
        log = tmp_path / "llm.log"
        with pytest.raises(ScriptedNotStarted, match="in use") as caught:
            start_process(log=log, port=taken_port)
        assert str(log) in str(caught.value)

    def test_one_that_says_nothing_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that does not come up in time is ended, not waited for."""
        monkeypatch.setattr(llm_process, "START_SECONDS", 0.0)
        with pytest.raises(ScriptedNotStarted):
            start_process(log=tmp_path / "llm.log")
