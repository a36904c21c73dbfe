"""
Ports of worker processes: several share a machine, so a worker whose port is taken chooses another.

A worker listens on its port from the moment it chooses it. Otherwise two workers that start
together would choose the same port, and the second would end when it begins to serve.
"""

import errno
import socket
import warnings
from typing import Any

from aiohttp.web import SockSite

from fleet.config import logs

_log = logs.get_logger("web")


def choose_port(app: Any) -> None:
    """Take the app's web port, or a free one if another process has it."""
    conf = app.conf
    if not conf.web_enabled or conf.web_transport.scheme != "tcp":
        return
    wanted = conf.web_port
    listening = _listen(conf.web_bind, wanted)
    if listening is None:
        listening = _listen(conf.web_bind, 0)
        assert listening is not None, "the system chooses a port that is free"
        _rename(conf, listening.getsockname()[1])
    _serve_on(app.web, listening, wanted)


def _listen(host: str, port: int) -> socket.socket | None:
    """Return a socket that listens, or None if another process does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as failure:
        if failure.errno != errno.EADDRINUSE:
            raise
        return None


def _rename(conf: Any, port: int) -> None:
    with warnings.catch_warnings():
        # Faust warns of every setting that changes late; nothing has used this one yet.
        warnings.simplefilter("ignore")
        conf.web_port = port
        conf.canonical_url = f"http://{conf.web_host}:{port}"


def _serve_on(web: Any, listening: socket.socket, wanted: int) -> None:
    def site() -> SockSite:
        # Not when the port is chosen: logging is not set up then.
        if web.app.conf.web_port != wanted:
            _log.warning("web_port_taken", wanted=wanted, chosen=web.app.conf.web_port)
        return SockSite(web._runner, listening, ssl_context=web.app.conf.web_ssl_context)

    web._transport_handlers = {**web._transport_handlers, "tcp": site}
