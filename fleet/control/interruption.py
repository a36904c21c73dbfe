"""
Ctrl-C as a fact to ask for, instead of an exception at any line.

A command that starts processes must not be torn apart between starting one and noting it. So
signals are only remembered; the command asks at points where it can stop, and undoes its work
undisturbed.
"""

import asyncio
import signal
from collections.abc import Callable

#: Hears what is being done, in words.
Progress = Callable[[str], None]

#: What asks a command in the foreground to end; the last one comes when its terminal closes.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Raised by `Interruption.check` once somebody has asked the command to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        #: As shells count.
        self.exit_code = 128 + number


class Interruption:
    """Whether somebody has asked the command to end. Made inside the running event loop."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # `nohup` has it ignored, and wants that.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._ask, number)

    def check(self) -> None:
        """Raise Interrupted if the command is to end. For any thread."""
        if self._signal is not None:
            raise Interrupted(self._signal)

    async def wait(self) -> None:
        """Return when the command is to end."""
        await self._asked.wait()

    def checked(self, progress: Progress) -> Progress:
        """Return *progress* with a check at each of its calls."""

        def tell(words: str) -> None:
            self.check()
            progress(words)

        return tell

    def _ask(self, number: signal.Signals) -> None:
        self._signal = self._signal or number
        self._asked.set()
