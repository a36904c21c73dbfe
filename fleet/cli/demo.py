"""`fleet demo`: a workflow on a real Kafka, from nothing, in one command."""

import click

from fleet.cli.demos import play
from fleet.cli.shared import loop, options, terminal
from fleet.cli.views.screen import Screen
from fleet.config import settings
from fleet.control.interruption import Interrupted

DEFAULT_TOPIC = "pirates"


class KeepAndStop(click.UsageError):
    """Raised when both are asked for."""

    def __init__(self) -> None:
        super().__init__("--keep leaves a demo running and --stop ends it; give one of them")


@click.command()
@click.argument("topic", nargs=-1, metavar="[TOPIC]")
@click.option("--keep", is_flag=True, help="Leave everything running, and say how to use it.")
@click.option("--stop", is_flag=True, help="End what an earlier --keep left running.")
@options.broker
@click.pass_context
def demo(context: click.Context, topic: tuple[str, ...], *, keep: bool, stop: bool) -> None:
    """See a workflow of two steps run on a real Kafka: a joke about TOPIC, and its critique.

    Starts what is missing: an Apache Kafka (unless --broker or FLEET_BROKER names one, or `fleet
    dev up` runs one), a scripted LLM (unless OPENAI_API_KEY or OPENAI_BASE_URL is set), and a
    worker. Shows each step on stderr and prints the critique on stdout. Then it ends what it
    started.
    """
    if keep and stop:
        raise KeepAndStop
    if stop:
        _stop()
        return
    try:
        with Screen() as screen:
            loop.run(
                play.play(
                    " ".join(topic) or DEFAULT_TOPIC,
                    keep=keep,
                    settings=settings.current(),
                    screen=screen,
                )
            )
    except Interrupted as interrupted:
        terminal.echo("Interrupted. What was started is ended again.", err=True)
        context.exit(interrupted.exit_code)


def _stop() -> None:
    ended = loop.run(play.stop(settings.current()))
    terminal.echo(f"Ended: {', '.join(ended)}." if ended else "No demo was running.", err=True)
