"""
`LLM`: a language model as an attribute of a workflow class.

A thin object over the real `openai.AsyncOpenAI`, so it talks to any server of OpenAI's protocol:
the service itself, a gateway, a model on the same machine, or the scripted one of `fleet dev llm`.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

from fleet.config import recorded_only
from fleet.llm import recorded
from fleet.llm.connections import Connections, Endpoint
from fleet.llm.recorded import Memo
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: Passed to openai explicitly: it would take an empty OPENAI_BASE_URL, as compose files set it, for
#: an address.
OPENAI_URL = "https://api.openai.com/v1"
#: The model if neither the code nor OPENAI_MODEL names one.
DEFAULT_MODEL = "gpt-4o-mini"
#: How the scripted server signs its answers.
SCRIPTED = "scripted"


class MissingKey(FleetError):
    """Raised at the first call when neither a key nor an address of a model is set.

    What to do: Set `OPENAI_API_KEY`, or `OPENAI_BASE_URL` for a model of your own. Without one,
    start `fleet dev llm`.
    """

    def __init__(self) -> None:
        super().__init__(
            "there is no language model to call: OPENAI_API_KEY and OPENAI_BASE_URL are not set; "
            "set OPENAI_API_KEY, or start a scripted model with `fleet dev llm` and set "
            "OPENAI_BASE_URL to the address that it prints"
        )


class UnusableAnswer(FleetError):
    """Raised when an endpoint reports success and its answer is no chat completion.

    What to do: Check that `OPENAI_BASE_URL` ends at the API, usually in `/v1`. Another attempt may
    help if a gateway was in trouble.
    """

    #: A gateway in trouble does this too, so another attempt may help.
    permanent = False

    def __init__(self, got: str) -> None:
        super().__init__(
            f"the endpoint's answer is no chat completion but {got}; "
            "check that OPENAI_BASE_URL ends at the API's root, usually /v1"
        )


class BadMemoMode(FleetError):
    """Raised by `LLM(memo=...)` for a word that it does not know.

    What to do: Write "auto", "always" or "off".
    """

    def __init__(self, memo: object) -> None:
        super().__init__(f'LLM(memo={memo!r}): write "auto", "always" or "off"')


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer; `str()` gives its text."""

    #: The whole answer.
    text: str
    #: The model that answered, as the endpoint names it.
    model: str
    #: As the endpoint counted; 0 if it does not say.
    prompt_tokens: int = 0
    #: As the endpoint counted; 0 if it does not say.
    completion_tokens: int = 0
    #: True when a scripted server answered: there is no model behind the text.
    scripted: bool = False

    def __str__(self) -> str:
        return self.text


class LLM:
    """A language model behind OpenAI's protocol. Cheap to make: it connects at the first call.

    At that call it reads OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL for arguments that you
    left out. *timeout* is in seconds without a byte from the model. Other keywords
    (`temperature=0`) go with every call.

    After rate limits, server errors and lost connections the openai client tries again, up to
    *max_retries* times within a call; it heeds Retry-After. A retry policy of the step comes on
    top: 3 attempts with 2 retries call a model that is down 9 times. Give `max_retries=0` to a step
    with such a policy. The last error is openai's own.

    In a step, each answer is recorded before you get it. A later attempt of the step gets it
    without a call: after a crash, a wait, a resume, and after a call that failed. If the step
    itself raises, its next attempt makes the last call again, and those that it awaited at the same
    time: their answer may be why. *memo* `"always"` keeps these, too, and `"off"` records nothing.

    One object serves any number of event loops, and its connections close with their loop.
    """

    def __init__(  # noqa: PLR0913 - all but the first by name
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float | None = 600,
        max_retries: int = 2,
        memo: Memo = "auto",
        **defaults: Any,
    ) -> None:
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._timeout_seconds = timeout
        self._max_retries = max_retries
        if memo not in get_args(Memo):
            raise BadMemoMode(memo)
        self._memo: Memo = memo
        self._defaults = defaults
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = (
            WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"LLM({self.model!r})"

    @property
    def model(self) -> str:
        """The model to ask for; a server with only one may ignore it."""
        return self._model or os.environ.get("OPENAI_MODEL") or DEFAULT_MODEL

    @property
    def client(self) -> "AsyncOpenAI":
        """The openai client of the running event loop, for everything else that openai can do."""
        recorded_only.check("a call with the openai client of the workflow's LLM")
        return self._connections().first

    async def complete(
        self, prompt: str, *, system: str | None = None, **options: Any
    ) -> Completion:
        """Ask the model and wait for the whole answer; *options* go to openai's `create`.

        Raises MissingKey, UnusableAnswer, and what openai raises.
        """
        request = self._request(prompt, system, options)
        place = recorded.place(self._memo, "complete", request)
        with place.asking():
            found = await place.read()
            if found is not None:
                return Completion(**found)
            answer = await self._asked(request)
            await place.keep(asdict(answer))
            return answer

    #: Its name in LlamaIndex.
    acomplete = complete

    async def stream(
        self, prompt: str, *, system: str | None = None, **options: Any
    ) -> AsyncGenerator[str, None]:
        """Ask the model and yield the answer's text piece by piece, as it arrives.

        What was yielded to its end is recorded, and a later attempt gets the same pieces at once.
        """
        request = self._request(prompt, system, options)
        place = recorded.place(self._memo, "stream", request)
        with place.asking():
            pieces = await place.read()
            if pieces is not None:
                for piece in pieces:
                    yield piece
                return
            pieces = []
            async with aclosing(self._pieces(request)) as arriving:
                async for piece in arriving:
                    pieces.append(piece)
                    yield piece
            await place.keep(pieces)

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        connections = self._by_loop.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.aclose()

    async def _asked(self, request: dict[str, Any]) -> Completion:
        recorded_only.check(_told(request))
        with self._connections().lease() as client:
            create: Any = client.chat.completions.create
            return _completion(await create(**request))

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str, None]:
        recorded_only.check(_told(request))
        with self._connections().lease() as client:
            create: Any = client.chat.completions.create
            async with await create(stream=True, **request) as chunks:
                async for chunk in chunks:
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content

    def _connections(self) -> Connections:
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            self._forget_closed_loops()
            found = self._by_loop[loop] = Connections(self._endpoint())
        return found

    def _forget_closed_loops(self) -> None:
        # Connections refer to their loop, so weak keys alone would never free them.
        for loop in list(self._by_loop):
            if loop.is_closed():
                del self._by_loop[loop]

    def _endpoint(self) -> Endpoint:
        base_url = self._base_url or os.environ.get("OPENAI_BASE_URL")
        api_key = self._api_key or os.environ.get("OPENAI_API_KEY")
        if not base_url and not api_key:
            raise MissingKey
        return Endpoint(
            base_url or OPENAI_URL,
            # A model on your own machine asks for no key, but the client wants one.
            api_key or "none",
            self._timeout_seconds,
            self._max_retries,
        )

    def _request(self, prompt: str, system: str | None, options: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return {"model": self.model, "messages": messages} | self._defaults | options


def _told(request: dict[str, Any]) -> str:
    return f"the prompt {request['messages'][-1].get('content')!r}"


def _completion(answer: Any) -> Completion:
    choices = getattr(answer, "choices", None)
    if not choices:
        # A web page comes as a string, an error with status 200 as an object without choices.
        raise UnusableAnswer("a page of text" if isinstance(answer, str) else "without choices")
    usage = answer.usage
    return Completion(
        text=choices[0].message.content or "",
        model=answer.model,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        scripted=getattr(answer, "system_fingerprint", None) == SCRIPTED,
    )
