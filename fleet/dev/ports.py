"""Free TCP ports on the loopback interface."""

import random
import socket

from fleet.records.errors import FleetError

HOST = "127.0.0.1"
#: Below the range from which operating systems take the local ends of connections. In that range a
#: client that retries a port without a listener can connect to itself, and then a broker never gets
#: its port back.
CHOICE = range(20_000, 32_000)
TRIES = 100


class NoPort(FleetError):
    """Raised when no port can be found.

    What to do: Name a free port with `--port`.
    """

    permanent = False

    def __init__(self) -> None:
        super().__init__(
            f"no free port was found on {HOST} between {CHOICE.start} and {CHOICE.stop}; "
            "name one with --port"
        )


def is_free(port: int) -> bool:
    """Whether a server may listen at *port*."""
    with socket.socket() as server:
        # As servers do, so that remains of closed connections do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
    # macOS lets a server bind although another one listens on all addresses.
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0


def choose(*, but: int | None = None) -> int:
    """Return a port that is free now and is not *but*. Raises NoPort."""
    for port in random.sample(CHOICE, min(TRIES, len(CHOICE))):
        if port != but and is_free(port):
            return port
    raise NoPort
