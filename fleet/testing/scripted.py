"""The scripted model for tests: a server in a thread, so that any test can use it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from fleet.dev.llm import Answer, Behaviour, Fault, FaultKind, ScriptedLLM

T = TypeVar("T")


class ScriptedModel:
    """A running scripted model: tell it what to answer and how to fail, and read what was asked.

    Without an answer of yours it answers with the prompt, or with a joke. It is on this machine
    alone, and costs nothing.
    """

    def __init__(self) -> None:
        self._server = ScriptedLLM(Behaviour(journal=True))
        self._loop: asyncio.AbstractEventLoop
        self._stops: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="scripted model", daemon=True)
        self._started: Future[None] = Future()

    def start(self) -> None:
        """Begin to serve; raises PortUnavailable."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Close every connection, and end."""
        self._loop.call_soon_threadsafe(self._stops.set)
        self._thread.join()

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return self._server.base_url

    def answer(self, matching: str, text: str) -> None:
        """Answer prompts in which the regular expression *matching* is found with *text*.

        The first one found answers, in the order of these calls.
        """
        answer = Answer(matching=matching, text=text)
        self._in_loop(lambda: self._server.script.add_answer(answer))

    def fail(
        self,
        kind: FaultKind,
        *,
        next: int | None = None,
        containing: str = "",
        retry_after_seconds: float = 1,
    ) -> None:
        """Let calls fail: with `429`, `500`, `hang` (no answer) or `cut` (a closed connection).

        *next* is how many calls, None all of them; *containing* narrows them down to prompts with
        this text. A 429 asks for *retry_after_seconds*.
        """
        fault = Fault(
            kind=kind, next=next, containing=containing, retry_after_seconds=retry_after_seconds
        )
        self._in_loop(lambda: self._server.script.add_fault(fault))

    def slow_down(self, seconds: float) -> None:
        """Let each answer take *seconds*; a streamed one is spread over them."""
        self._in_loop(lambda: self._server.script.change({"latency_seconds": seconds}))

    @property
    def prompts(self) -> list[str]:
        """The prompts of all calls in the order of their arrival, of failed ones, too."""
        return self._in_loop(self._server.journal.prompts)

    @property
    def answered(self) -> int:
        """How many calls were answered: a provider would send a bill for these."""
        counts = self._server.counts.prompts
        return self._in_loop(lambda: sum(count.answered for count in counts.values()))

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stops = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._server.start()
        except BaseException as failure:  # noqa: BLE001 - raised by `start`, in its thread
            self._started.set_exception(failure)
            return
        self._started.set_result(None)
        await self._stops.wait()
        await self._server.stop()

    def _in_loop(self, call: Callable[[], T]) -> T:
        """Make a call where the server runs."""

        async def made() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result()
