"""`fleet demo`: a workflow on a real Kafka, from nothing, in one command."""

import click

from fleet.cli.shared import options

DEFAULT_TOPIC = "pirates"


@click.command()
@click.argument("topic", nargs=-1, metavar="[TOPIC]")
@click.option("--keep", is_flag=True, help="Leave everything running, and say how to use it.")
@click.option("--stop", is_flag=True, help="Stop what an earlier --keep left running.")
@options.broker
def demo(topic: tuple[str, ...], *, keep: bool, stop: bool) -> None:
    """Watch a workflow of two steps run on a real Kafka: a joke about TOPIC, and its critique.

    Starts what is missing: an Apache Kafka (unless --broker or FLEET_BROKER names one, or `fleet
    dev up` runs one), a scripted LLM (unless OPENAI_API_KEY or OPENAI_BASE_URL is set), and a
    worker. Shows each step on stderr and prints the critique on stdout. Then it stops what it
    started.
    """
    if keep and stop:
        raise click.UsageError("--keep leaves a demo running and --stop stops it; give one of them")
    from fleet.cli.demos import command

    if stop:
        command.stop()
    else:
        command.play(" ".join(topic) or DEFAULT_TOPIC, keep=keep)
