"""
The scripted model as an HTTP server.

Real HTTP, canned answers: what talks to it uses the client, the connections and the error handling
that it will use with a real model. One process carries thousands of calls at once.

    POST /v1/chat/completions   as OpenAI's, also streamed
    GET  /v1/models
    GET  /control               the behaviour; POST the fields of `Behaviour` to change it
    GET  /stats                 the counts; POST /stats/reset forgets them and the journal
    GET  /journal?after=N       the times of the calls, from the Nth entry on, if they are kept
"""

import asyncio
import json
import os
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from pydantic import ValidationError

from fleet.dev.llm import protocol
from fleet.dev.llm.counts import Counts
from fleet.dev.llm.faults import Behaviour, Fault, Script
from fleet.dev.llm.journal import Journal
from fleet.dev.llm.protocol import ChatRequest
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import problems

#: It has no authentication, so it is for this machine only.
HOST = "127.0.0.1"
#: Thousands of clients may connect at the same moment.
BACKLOG = 4096
#: Prompts may be long; what a model takes in is not the server's concern.
MAX_BODY_BYTES = 64 * 2**20
#: How long `stop` waits for answers on their way before it cuts them off.
STOP_SECONDS = 0.2
#: How often a hanging call looks whether its caller has gone.
HANG_CHECK_SECONDS = 0.1


class PortUnavailable(FleetError):
    """Raised when the scripted LLM cannot listen on its port.

    What to do: Choose another port, or 0 for any free one.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(
            f"the scripted LLM cannot listen on {HOST}:{port}: {reason}; "
            "choose another port, or 0 for any free one"
        )


class ScriptedLLM:
    """The server. `async with ScriptedLLM() as llm` has it on a free port at `llm.base_url`."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        #: How it behaves now; `script.change({...})` sets some of it.
        self.script = Script(behaviour or Behaviour())
        #: What was asked and answered.
        self.counts = Counts()
        #: When; it is written only while the behaviour asks for it.
        self.journal = Journal()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0, host: str = HOST) -> None:
        """Listen on *port* (0: any free one); raise PortUnavailable if it cannot.

        Another *host* than this machine alone is for containers that have a network to themselves.
        """
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=STOP_SECONDS
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError as failure:
            await self.stop()
            raise PortUnavailable(port, os.strerror(failure.errno or 0)) from failure

    async def stop(self) -> None:
        """Close every connection, also those that wait for an answer."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def root_url(self) -> str:
        """Where /control and /stats are."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the scripted LLM is not started")
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return f"{self.root_url}/v1"

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.on_response_prepare.append(_label)
        application.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._models),
                web.get("/control", self._behaviour),
                web.post("/control", self._control),
                web.get("/stats", self._stats),
                web.post("/stats/reset", self._reset),
                web.get("/journal", self._journal),
            ]
        )
        return application

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            chat = ChatRequest.model_validate_json(await request.read())
        except ValidationError as failure:
            self.counts.invalid += 1
            return _error(HTTPStatus.BAD_REQUEST, problems(failure), "invalid_request_error")
        chat.give(self.script.answer(chat.prompt))
        call = self.counts.start(chat)
        number = self.journal.start(chat) if self.script.behaviour.journal else None
        try:
            if fault := self.script.strike(call):
                self.counts.fail(fault)
                return await _fail(request, chat, fault)
            response = await self._answer(request, chat, self.script.delay_seconds(call))
            if number is not None:
                self.journal.answer(number)
            return response
        finally:
            self.counts.finish()

    async def _answer(
        self, request: web.Request, chat: ChatRequest, delay_seconds: float
    ) -> web.StreamResponse:
        # aiohttp lets a handler run on when its caller has gone, so a killed caller's answer is
        # still counted, as a provider would.
        if chat.stream:
            return await self._stream(request, chat, delay_seconds)
        await asyncio.sleep(delay_seconds)
        self.counts.answer(chat)
        return web.json_response(protocol.completion(chat))

    async def _stream(
        self, request: web.Request, chat: ChatRequest, delay_seconds: float
    ) -> web.StreamResponse:
        chunks = list(protocol.chunks(chat))
        response = await _open_stream(request)
        try:
            for chunk in chunks:
                await asyncio.sleep(delay_seconds / len(chunks))
                await response.write(_server_sent(json.dumps(chunk)))
            await response.write(_server_sent("[DONE]"))
        finally:
            self.counts.answer(chat)
        return response

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response(protocol.models())

    async def _behaviour(self, _: web.Request) -> web.Response:
        return web.json_response(self.script.behaviour.model_dump())

    async def _control(self, request: web.Request) -> web.Response:
        try:
            self.script.change(await _object(request))
        except ValidationError as failure:
            return _error(HTTPStatus.BAD_REQUEST, problems(failure), "invalid_request_error")
        return await self._behaviour(request)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.counts.report())

    async def _journal(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            return _error(
                HTTPStatus.BAD_REQUEST, "after: not a whole number", "invalid_request_error"
            )
        return web.json_response(self.journal.report(max(after, 0)))

    async def _reset(self, request: web.Request) -> web.Response:
        self.counts.reset()
        self.journal.reset()
        return await self._stats(request)


async def _label(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Scripted"] = "true"


async def _object(request: web.Request) -> dict[str, Any]:
    """Read a body of JSON; raise HTTPBadRequest if it is no object."""
    try:
        body = await request.json()
    except ValueError as failure:
        raise web.HTTPBadRequest(text=f"scripted: the body is not JSON: {failure}") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="scripted: the body is not a JSON object")
    return body


async def _fail(request: web.Request, chat: ChatRequest, fault: Fault) -> web.StreamResponse:
    """Do what *fault* says instead of answering."""
    match fault.kind:
        case "429":
            return _too_many(fault)
        case "500":
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "injected error", "server_error")
        case "hang":
            return await _hang(request)
        case "cut":
            return await _cut(request, chat)


def _too_many(fault: Fault) -> web.Response:
    response = _error(HTTPStatus.TOO_MANY_REQUESTS, "injected rate limit", "rate_limit_exceeded")
    response.headers["Retry-After"] = f"{fault.retry_after_seconds:g}"
    return response


async def _hang(request: web.Request) -> web.StreamResponse:
    """Answer nothing until the caller gives up or the server stops."""
    # aiohttp reports no lost connection unless it may cancel every handler, and the
    # handlers that answer have to run on.
    while request.transport is not None:  # noqa: ASYNC110 - see above
        await asyncio.sleep(HANG_CHECK_SECONDS)
    return web.Response()


async def _cut(request: web.Request, chat: ChatRequest) -> web.StreamResponse:
    """Close the connection without an answer, or after the first half of a streamed one."""
    response = await _open_stream(request) if chat.stream else web.StreamResponse()
    if chat.stream:
        chunks = list(protocol.chunks(chat))
        for chunk in chunks[: len(chunks) // 2]:
            await response.write(_server_sent(json.dumps(chunk)))
    if request.transport is not None:
        request.transport.close()
    return response


async def _open_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    return response


def _server_sent(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _error(status: HTTPStatus, message: str, kind: str) -> web.Response:
    return web.json_response(protocol.error(message, kind), status=status)
