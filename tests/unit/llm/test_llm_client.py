"""`LLM` against the scripted server: the real openai client, real HTTP."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import openai
import pytest
from aiohttp import web

from fleet.dev.llm import Fault, ScriptedLLM, ScriptedProcess, start_process
from fleet.llm import LLM, MissingKey, UnusableAnswer
from fleet.llm.connections import CALLS_PER_CLIENT

JOKE = "Write your best joke about pirates."


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedLLM]:
    async with ScriptedLLM() as scripted:
        yield scripted


@pytest.fixture
def llm(server: ScriptedLLM) -> LLM:
    return LLM(base_url=server.base_url, max_retries=0)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedProcess]:
    started = start_process(log=tmp_path_factory.mktemp("llm") / "llm.log", latency_seconds=0)
    yield started
    started.stop()


class TestComplete:
    async def test_an_answer_is_its_text_and_tells_where_it_is_from(self, llm: LLM) -> None:
        """A completion reads as its text and carries model, tokens and the scripted label."""
        answer = await llm.complete(JOKE)
        assert "pirates" in answer.text
        assert str(answer) == answer.text
        assert answer.model == "scripted"
        assert answer.scripted
        assert answer.prompt_tokens > 0
        assert answer.completion_tokens > 0

    async def test_acomplete_is_complete(self, llm: LLM) -> None:
        """The name that it has in LlamaIndex does the same."""
        assert await llm.acomplete(JOKE) == await llm.complete(JOKE)

    async def test_a_system_message_goes_along(self, server: ScriptedLLM, llm: LLM) -> None:
        """With a system message it is another conversation about the same prompt."""
        await llm.complete(JOKE)
        await llm.complete(JOKE, system="You are a poet.")
        assert len(server.counts.prompts) == 2
        assert {count.prompt for count in server.counts.prompts.values()} == {JOKE}

    async def test_options_reach_the_openai_client(self, server: ScriptedLLM, llm: LLM) -> None:
        """Keywords of a call are openai's."""
        server.script.change({"faults": [Fault(kind="hang")]})
        with pytest.raises(openai.APITimeoutError):
            await llm.complete(JOKE, timeout=0.1)

    async def test_defaults_go_with_every_call(self, server: ScriptedLLM) -> None:
        """Keywords of the LLM are openai's too; a call's own win over them."""
        llm = LLM(base_url=server.base_url, extra_body={"messages": []})
        with pytest.raises(openai.BadRequestError):
            await llm.complete(JOKE)
        assert (await llm.complete(JOKE, extra_body=None)).scripted

    async def test_the_streamed_text_is_the_same(self, llm: LLM) -> None:
        """A stream yields the text in pieces."""
        found = [piece async for piece in llm.stream(JOKE)]
        assert len(found) > 5
        assert "".join(found) == (await llm.complete(JOKE)).text

    async def test_a_stream_that_is_left_early_is_closed(
        self, server: ScriptedLLM, llm: LLM
    ) -> None:
        """Leaving a stream ends its call in the server, and its place is free again."""
        server.script.change({"latency_seconds": 60})
        async with aclosing(llm.stream(JOKE)) as pieces:
            waiting = asyncio.ensure_future(anext(pieces))
            async with asyncio.timeout(10):
                while server.counts.in_flight == 0:  # noqa: ASYNC110 - it is no event
                    await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
        [connections] = llm._by_loop.values()
        assert [lane.calls for lane in connections._lanes] == [0]


class TestErrors:
    async def test_a_rate_limit_is_retried_by_the_client(self, server: ScriptedLLM) -> None:
        """Within max_retries nobody sees a limit."""
        server.script.change({"faults": [Fault(kind="429", next=2, retry_after_seconds=0.01)]})
        assert "pirates" in str(await LLM(base_url=server.base_url).complete(JOKE))

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (Fault(kind="429"), openai.RateLimitError),
            (Fault(kind="500"), openai.InternalServerError),
            (Fault(kind="cut"), openai.APIConnectionError),
        ],
    )
    async def test_errors_of_openai_pass_unchanged(
        self, server: ScriptedLLM, llm: LLM, fault: Fault, error: type[Exception]
    ) -> None:
        """A retry policy finds openai's own error types, after exactly one call."""
        server.script.change({"faults": [fault]})
        with pytest.raises(error):
            await llm.complete(JOKE)
        assert server.counts.report()["requests"] == 1

    async def test_an_address_where_nobody_listens_is_named(self) -> None:
        """Not only "Connection error.": where to, why, and which variable says so."""
        llm = LLM(base_url="http://user:secret@127.0.0.1:9/v1", max_retries=0)
        with pytest.raises(
            openai.APIConnectionError,
            match=r"^Connection error \(ConnectError: .+\); called was "
            r"http://127\.0\.0\.1:9/v1/chat/completions, see OPENAI_BASE_URL$",
        ) as caught:
            await llm.complete(JOKE)
        assert caught.value.message == str(caught.value)

    async def test_a_path_that_the_server_does_not_know_is_named(self, server: ScriptedLLM) -> None:
        """A base URL without /v1 answers 404; the text has the address."""
        llm = LLM(base_url=server.base_url.removesuffix("/v1"), max_retries=0)
        with pytest.raises(
            openai.NotFoundError, match=r"404.*called was http://.*completions, see"
        ):
            await llm.complete(JOKE)

    async def test_the_timeout_ends_a_hanging_call(self, server: ScriptedLLM) -> None:
        """A model that says nothing is given up after the timeout."""
        server.script.change({"faults": [Fault(kind="hang")]})
        with pytest.raises(openai.APITimeoutError):
            await LLM(base_url=server.base_url, max_retries=0, timeout=0.1).complete(JOKE)

    async def test_without_key_and_address_it_says_what_to_set(self) -> None:
        """The error tells both ways out, and that trying again is no use."""
        with pytest.raises(
            MissingKey, match=r"set OPENAI_API_KEY, or .* `fleet dev llm`"
        ) as caught:
            await LLM().complete(JOKE)
        assert caught.value.permanent

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [("<html>Welcome</html>", "text/html"), ('{"error": "overloaded"}', "application/json")],
    )
    async def test_an_answer_that_is_none(self, body: str, content_type: str) -> None:
        """What is no chat completion, though it came with status 200, is a clear error."""

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=body, content_type=content_type)

        application = web.Application()
        application.router.add_post("/{any:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            port = runner.addresses[0][1]
            with pytest.raises(UnusableAnswer, match="no chat completion"):
                await LLM(base_url=f"http://127.0.0.1:{port}/").complete(JOKE)
        finally:
            await runner.cleanup()


class TestSettings:
    async def test_the_environment_is_read_at_the_first_call(
        self, server: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An LLM made when the module was imported uses what is set later; no key is needed."""
        llm = LLM()
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert (await llm.complete(JOKE)).scripted

    def test_the_model_is_the_codes_then_the_environments(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the code names wins over OPENAI_MODEL, and that over the default."""
        assert LLM().model == "gpt-4o-mini"
        monkeypatch.setenv("OPENAI_MODEL", "of-the-environment")
        assert LLM().model == "of-the-environment"
        assert LLM("of-the-code").model == "of-the-code"

    async def test_a_key_alone_means_openai(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a key and no address it is OpenAI's, also where the variable is set to nothing."""
        monkeypatch.setenv("OPENAI_API_KEY", "a-key")
        monkeypatch.setenv("OPENAI_BASE_URL", "")
        client = LLM().client
        assert str(client.base_url) == "https://api.openai.com/v1/"
        assert client.api_key == "a-key"

    async def test_a_proxy_is_not_asked_for_this_machine(
        self, llm: LLM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model on this machine is called directly, whatever HTTP_PROXY says."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert (await llm.complete(JOKE)).scripted

    def test_the_key_is_not_shown(self) -> None:
        """A printed LLM does not give its key away."""
        assert "secret" not in repr(LLM("model", api_key="secret"))

    def test_openai_is_not_imported_before_it_is_used(self) -> None:
        """Tools that never call a model do not pay for the client's import."""
        code = "import sys, fleet.llm; fleet.llm.LLM(); sys.exit('openai' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestLoops:
    def test_one_object_serves_several_loops(self, process: ScriptedProcess) -> None:
        """A class-level LLM works in loop after loop, and leaves no open socket behind."""
        llm = LLM(base_url=process.base_url)
        first = asyncio.run(llm.complete(JOKE))
        second = asyncio.run(llm.complete(JOKE))
        assert first == second
        # An open socket would be a ResourceWarning now, and warnings are errors here.
        gc.collect()
        assert len(llm._by_loop) == 1

    def test_one_object_serves_several_threads(self, process: ScriptedProcess) -> None:
        """Loops of several threads use one LLM at the same time."""
        llm = LLM(base_url=process.base_url)

        async def tell(topics: list[str]) -> list[str]:
            prompts = [f"Write your best joke about {topic}." for topic in topics]
            answers = await asyncio.gather(*[llm.complete(prompt) for prompt in prompts])
            return [answer.text for answer in answers]

        topics = [[f"topic {thread}-{n}" for n in range(10)] for thread in range(4)]
        with ThreadPoolExecutor(4) as threads:
            told = list(threads.map(lambda mine: asyncio.run(tell(mine)), topics))
        for asked, jokes in zip(topics, told, strict=True):
            assert all(topic in joke for topic, joke in zip(asked, jokes, strict=True))

    async def test_a_closed_one_opens_again(self, llm: LLM) -> None:
        """After aclose the client is closed, and a later call has a new one."""
        client = llm.client
        await llm.complete(JOKE)
        await llm.aclose()
        assert client.is_closed()
        assert (await llm.complete(JOKE)).scripted
        await llm.aclose()
        await llm.aclose()


class TestManyCalls:
    async def test_every_caller_gets_its_own_answer(self, server: ScriptedLLM, llm: LLM) -> None:
        """Of 300 calls at once each gets the answer to its prompt, and each is made once."""
        server.script.change({"latency_seconds": 0.3})
        topics = [f"topic number {n}" for n in range(300)]
        answers = await asyncio.gather(
            *[llm.complete(f"Write your best joke about {topic}.") for topic in topics]
        )
        for topic, answer in zip(topics, answers, strict=True):
            assert topic in answer.text
        report = server.counts.report()
        assert (report["requests"], report["answered"], report["repeated"]) == (300, 300, [])

    async def test_calls_are_spread_over_clients_only_when_they_are_many(
        self, server: ScriptedLLM, llm: LLM
    ) -> None:
        """A quiet process has one client; a crowd is spread, since a crowded client is slow."""
        for _ in range(3):
            await llm.complete(JOKE)
        [connections] = llm._by_loop.values()
        assert len(connections._lanes) == 1
        server.script.change({"latency_seconds": 0.3})
        await asyncio.gather(*[llm.complete(JOKE) for _ in range(2 * CALLS_PER_CLIENT + 1)])
        assert len(connections._lanes) == 3
        assert [lane.calls for lane in connections._lanes] == [0, 0, 0]
