"""Ports of worker processes: several share a host, so one that is taken is chosen anew."""

import errno
import socket
import warnings
from typing import Any

from fleet.runtime import logs

_log = logs.get_logger("web")


def choose_port(app: Any) -> None:
    """Give the app's web server another port where the wanted one is taken."""
    conf = app.conf
    if not conf.web_enabled or conf.web_transport.scheme != "tcp":
        return
    if _is_free(conf.web_bind, conf.web_port):
        return
    wanted = conf.web_port
    with warnings.catch_warnings():
        # Faust warns of every setting that changes late; nothing has used this one yet.
        warnings.simplefilter("ignore")
        conf.web_port = _free_port(conf.web_bind)
        conf.canonical_url = f"http://{conf.web_host}:{conf.web_port}"
    _log.warning("web_port_taken", wanted=wanted, chosen=conf.web_port)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            return failure.errno != errno.EADDRINUSE
        return True


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
