"""`fleet dev llm`: a scripted language model in the foreground."""

import click

from fleet.cli.shared import types
from fleet.dev.fault_kinds import KINDS, FaultKind


@click.command("llm")
@click.option(
    "--port",
    type=types.Whole(0, 65_535),
    metavar="PORT",
    default=8787,
    show_default=True,
    help="Where it listens; 0 takes a free port.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Who reaches it: by default this machine only. 0.0.0.0 is for containers.",
)
@click.option(
    "--latency",
    "latency_seconds",
    type=types.Number(min=0),
    default=0.2,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer takes.",
)
@click.option(
    "--jitter",
    "jitter_seconds",
    type=types.Number(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Up to this much more, by chance.",
)
@click.option(
    "--fail-rate",
    type=types.Number(0, 1),
    default=0.0,
    metavar="SHARE",
    help="The share of calls that fail, from 0 to 1.",
)
@click.option(
    "--fail-with",
    type=click.Choice(KINDS),
    default="429",
    show_default=True,
    help="How they fail.",
)
@click.option("--seed", type=int, default=0, metavar="N", help="Repeats what happens by chance.")
def llm(port: int, host: str, fail_rate: float, fail_with: FaultKind, **behaviour: float) -> None:
    """Run a scripted, OpenAI-compatible language model until Ctrl-C.

    There is no model behind it: prompts get canned answers, the same ones every time. POST to
    /control changes its behaviour, GET /stats counts calls and answers.
    """
    from fleet.cli.actions import dev_llm as action

    action.serve(port, host, fail_rate, fail_with, **behaviour)
