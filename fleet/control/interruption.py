"""
Ctrl-C as a fact that a command asks for, not as an exception at any line.

A signal must not tear a command apart between starting a process and noting it. So signals are
only remembered. The command asks at points where it can stop, and undoes its work undisturbed.
"""

import asyncio
import signal
from collections.abc import Callable

#: Signals that ask a command in the foreground to end; the last one comes when its terminal closes.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Raised by `Interruption.check` after a signal has asked the command to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        #: As shells count.
        self.exit_code = 128 + number


class Interruption:
    """Remembers whether a signal has asked the command to end.

    Create it inside the running event loop.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # `nohup` ignores this signal on purpose.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._ask, number)

    def check(self) -> None:
        """Raise Interrupted if the command is to end. Any thread may call it."""
        if self._signal is not None:
            raise Interrupted(self._signal)

    async def wait(self) -> None:
        """Return when the command is to end."""
        await self._asked.wait()

    def checked(self, tell: Callable[[str], object]) -> Callable[[str], None]:
        """Return a function that checks, then calls *tell*."""

        def check_and_tell(words: str) -> None:
            self.check()
            tell(words)

        return check_and_tell

    def _ask(self, number: signal.Signals) -> None:
        self._signal = self._signal or number
        self._asked.set()
