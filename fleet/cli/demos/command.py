"""What `fleet demo` does: play the demo on this terminal, or stop one that is left running."""

import click

from fleet.cli.demos import play as demos
from fleet.cli.shared import loop, terminal
from fleet.cli.views.screen import Screen
from fleet.config import settings
from fleet.control.interruption import Interrupted


def play(topic: str, *, keep: bool) -> None:
    """Show a run of the joke flow about *topic*; with *keep* leave what it needs running."""
    try:
        with Screen() as screen:
            demo = demos.play(topic, keep=keep, settings=settings.current(), screen=screen)
            # Quiet: the caller would miss a worker, while the demo's own is still joining.
            loop.run(demo, quiet=True)
    except Interrupted as interrupted:
        terminal.say("Interrupted. The demo stopped what it had started.")
        raise click.exceptions.Exit(interrupted.exit_code) from None


def stop() -> None:
    """Stop what an earlier demo left running, and say what it was."""
    ended = loop.run(demos.stop(settings.current()))
    terminal.say(f"Stopped: {', '.join(ended)}." if ended else "No demo was running.")
