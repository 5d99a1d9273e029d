"""Why a server's certificate is rejected, and what to do. ffmpeg itself gives no reason.

Sources: SSL_get_verify_result(3ssl) and X509_STORE_CTX_get_error(3ssl) for the numbers, ca-certificates' README for the folder.
"""

import contextlib
import socket
import ssl
import time
from pathlib import Path

SECONDS = 4.0
"""Each, for the connection and the handshake."""
NOT_YET_VALID, EXPIRED, SELF_MADE = 9, 10, 18
UNKNOWN_AUTHORITY = (2, 19, 20, 21)
OTHER_NAME = (62, 64)
TRUST_IT = "put {} into /usr/local/share/ca-certificates as a file that ends in .crt, and run: sudo update-ca-certificates"
PLAIN = "has a certificate that is not accepted: is the clock right (timedatectl), is it for this name?"


def fault_of(host: str, port: int, authorities: Path) -> str:
    """What is wrong with a server's certificate, as text to follow its name; "" if it is valid, or the server doesn't answer.

    Blocks for a few seconds at most, plus the name lookup.
    """
    try:
        context = ssl.create_default_context(cafile=str(authorities))
        with socket.create_connection((host, port), SECONDS) as connection, context.wrap_socket(connection, server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return meaning_of(error)
    except (OSError, ValueError):
        return ""


def meaning_of(error: ssl.SSLCertVerificationError) -> str:
    """Text to follow the server's name."""
    code, today = error.verify_code, time.strftime("%Y-%m-%d", time.localtime())
    if code == SELF_MADE:
        return f"has a self-signed certificate: {TRUST_IT.format('it')}"
    if code in UNKNOWN_AUTHORITY:
        theirs = f"{TRUST_IT.format('its certificate')}; or is a proxy or a login page in between?"
        return f"has a certificate from an authority that this machine does not trust: {theirs}"
    if code == EXPIRED:
        return f"has a certificate that has expired: if the clock is right (it says {today}), the server's operator must renew it"
    if code == NOT_YET_VALID:
        return f"has a certificate that is not valid yet: is the clock right (timedatectl; it says {today})?"
    if code in OTHER_NAME:
        return "has a certificate for another name: is the address right, or is a proxy or a login page in between?"
    return f"has a certificate that is not accepted ({error.verify_message})"


def cause_of(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The certificate error that caused a library's error, if any."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop()
        if isinstance(found, ssl.SSLCertVerificationError):
            return found
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            waiting += [found.__cause__, found.__context__, *found.args]
            with contextlib.suppress(AttributeError):
                waiting += vars(found).get("kwargs", {}).values()
    return None
