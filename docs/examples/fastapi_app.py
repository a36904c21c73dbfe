"""
A web service that calls a workflow; the workers are processes of their own.

    faust -A fleet.joke worker
    uvicorn fastapi_app:app
    curl -X POST 'http://localhost:8000/jokes?topic=pirates'
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request

from fleet import WorkflowConfigurationError, WorkflowTimeoutError, connect
from fleet.joke import JokeFlow
from fleet.workflow.errors import RunConflict

#: How long a joke may take, in seconds.
TIMEOUT = float(os.environ.get("JOKE_TIMEOUT", "60"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Stay connected for as long as the service runs: one connection serves all requests."""
    async with connect(JokeFlow, timeout=TIMEOUT) as jokes:
        app.state.jokes = jokes
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/jokes")
async def joke(
    request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    """Write a joke and criticise it. A repeated Idempotency-Key gets the first answer."""
    try:
        run = app.state.jokes.run(run_id=idempotency_key, **request.query_params)
        return {"critique": await run}
    except WorkflowConfigurationError as refused:
        raise HTTPException(422, str(refused)) from None
    except RunConflict as refused:
        raise HTTPException(409, str(refused)) from None
    except WorkflowTimeoutError as late:
        raise HTTPException(504, str(late)) from None
    except Exception as failure:  # what a step raised comes as it was raised
        raise HTTPException(502, f"{type(failure).__name__}: {failure}") from failure
