"""Loopback names of this machine, for servers that listen only there.

A web page can point its own name at 127.0.0.1 (DNS rebinding), so that a browser on this machine sends the page's requests to
such a server. The header Host reveals it: it has the page's name. Sources: RFC 9110, 15.5.20 (421); RFC 6761, 6.3 (localhost).
"""

import re

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(?::[0-9]*)?")
ADDRESS = re.compile(r"127(?:\.[0-9]{1,3}){3}|::1|::ffff:127(?:\.[0-9]{1,3}){3}")


def is_loopback_address(address: str) -> bool:
    return ADDRESS.fullmatch(address.lower()) is not None


def is_loopback_name(host: str) -> bool:
    """Whether a header Host, with or without a port, is localhost, a name below it, or a loopback address."""
    found = HOST.fullmatch(host)
    if not found:
        return False
    name = found[1].strip("[]").removesuffix(".").lower()
    return name == "localhost" or name.endswith(".localhost") or is_loopback_address(name)
