"""A small name server over UDP that answers well or badly, in a thread."""

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping, Sequence

CODES = {"refusing": 5, "failing": 2, "no-such-name": 3, "odd": 9}
TYPES = {4: 1, 6: 28}
SLOW_SECONDS = 0.7


class NameServer:
    """Answers for `names`, addresses by name; "no such name" for all others. A daemon until `close()`.

    `mode`: "good", "slow", "truncated", "silent", "garbage", "wrong-id", "wrong-question", "second-good" (nonsense before
    the good answer), "bare-refusal" (without the question), "headless" (it promises an answer that is not there), or of CODES.
    """

    def __init__(
        self, mode: str = "good", names: Mapping[str, Sequence[str]] | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self.mode, self.names = mode, dict(names or {})
        self.asked: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "NameServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                self._socket.close()
                return
            self.asked.append(query)
            for answer in self.answers(query):
                self._socket.sendto(answer, client)

    def answers(self, query: bytes) -> list[bytes]:
        good = self.good(query)
        if self.mode == "slow":
            time.sleep(SLOW_SECONDS)
        changed = {
            "silent": [],
            "garbage": [b"\xff" * 40],
            "wrong-id": [bytes((query[0] ^ 1,)) + good[1:]],
            "wrong-question": [good[:13] + b"zzz" + good[16:]],
            "second-good": [b"", b"\0", b"\xff" * 40, good[:11], good],
            "truncated": [good[:2] + b"\x83" + good[3:6] + b"\0\1" + bytes(4) + query[12:]],
            "bare-refusal": [query[:2] + b"\x81\x85" + bytes(8)],
            "headless": [good[: len(query)]],
        }
        if self.mode in CODES:
            return [query[:2] + bytes((0x81, 0x80 | CODES[self.mode])) + query[4:]]
        return changed.get(self.mode, [good])

    def good(self, query: bytes) -> bytes:
        labels, rest = [], query[12:]
        while rest and rest[0]:
            labels.append(rest[1 : 1 + rest[0]].decode().lower())
            rest = rest[1 + rest[0] :]
        name, kind = ".".join(labels), int.from_bytes(rest[1:3])
        end = 12 + len(name) + 2 + 4
        if name not in self.names:
            return query[:2] + b"\x81\x83" + b"\0\1" + bytes(6) + query[12:end]
        found = [ipaddress.ip_address(address) for address in self.names[name]]
        records = [
            # The name is that of the question; class IN, a minute to live.
            b"\xc0\x0c" + kind.to_bytes(2) + b"\0\1" + (60).to_bytes(4) + len(address.packed).to_bytes(2) + address.packed
            for address in found
            if TYPES[address.version] == kind
        ]
        header = query[:2] + b"\x81\x80" + b"\0\1" + len(records).to_bytes(2) + bytes(4)
        return header + query[12:end] + b"".join(records)
