"""Names of this machine's loopback, for servers that listen there alone.

A web page can have its own name point at 127.0.0.1 (DNS rebinding), and its visitor's browser, on this machine, ask such a server
in the page's name. The header Host tells: it holds the page's name. Sources: RFC 9110, 15.5.20 (421); RFC 6761, 6.3 (localhost).
"""

import re

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(?::[0-9]*)?")
ADDRESS = re.compile(r"127(?:\.[0-9]{1,3}){3}|::1|::ffff:127(?:\.[0-9]{1,3}){3}")


def is_loopback_address(address: str) -> bool:
    return ADDRESS.fullmatch(address.lower()) is not None


def is_loopback_name(host: str) -> bool:
    """Whether what a header Host holds, with a port or without, is localhost, a name below it, or a loopback address."""
    found = HOST.fullmatch(host)
    if not found:
        return False
    name = found[1].strip("[]").removesuffix(".").lower()
    return name == "localhost" or name.endswith(".localhost") or is_loopback_address(name)
