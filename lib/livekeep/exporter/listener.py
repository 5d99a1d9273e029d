"""The exporter's listening socket, and what to do when there can be none."""

import errno
import socket

from livekeep.core.errors import TemporaryError

BACKLOG = 256


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. Raises `TemporaryError` that says what to do."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise TemporaryError(f"{where}: cannot listen ({error.strerror}); choose another exporter.address") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" is all networks, IPv4 among them.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise TemporaryError(f"{where}: cannot listen ({error.strerror}); {advice_for(error, port)}") from error
    return listener


def advice_for(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program holds the port: ss -ltnp 'sport = :{port}'; or choose another exporter.port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address: ip address; or choose another exporter.address"
    return "choose another exporter.address or exporter.port"
