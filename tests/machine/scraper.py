"""Scrapes an exporter from inside the machine, as Prometheus does, and prints what it saw as JSON.

scraper.py PORT COUNT [PAUSE-SECONDS]     one client, one kept connection
scraper.py PORT COUNT --crowd CLIENTS     many at once; among them some that read slowly, and others that never finish asking
"""

import json
import socket
import sys
import threading
import time
import zlib

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\nAccept: text/plain;version=0.0.4\r\n\r\n"
PATIENCE_SECONDS = 60.0
SLOW_EVERY = 10
"""One in this many of the crowd's clients reads slowly."""
HALF_OPEN = 300


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def scrape(connection: socket.socket, pause_seconds: float = 0.0) -> bytes:
    """The text of one response. Raises `OSError` or `ValueError` when it is invalid."""
    connection.sendall(REQUEST)
    got = b""
    while b"\r\n\r\n" not in got:
        got += receive(connection, pause_seconds)
    head, _, body = got.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(head.split(b"\r\n")[0].decode("latin-1"))
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"\r\n0\r\n\r\n"):
            body += receive(connection, pause_seconds)
        body = b"".join(chunks(body))
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += receive(connection, pause_seconds)
    text = zlib.decompress(body, 47) if b"gzip" in fields.get(b"content-encoding", b"") else body
    if not text.endswith(b"\n"):
        raise ValueError("the answer is cut off")
    return text


def receive(connection: socket.socket, pause_seconds: float) -> bytes:
    time.sleep(pause_seconds)
    got = connection.recv(256 if pause_seconds else 65536)
    if not got:
        raise ValueError("the connection was closed")
    return got


def chunks(body: bytes) -> list[bytes]:
    found = []
    while body:
        size, _, body = body.partition(b"\r\n")
        found.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return found


def alone(port: int, count: int, pause_seconds: float) -> dict[str, object]:
    """The seconds of each scrape."""
    seconds, text = [], b""
    with connect(port) as connection:
        for _ in range(count):
            time.sleep(pause_seconds)
            began = time.perf_counter()
            text = scrape(connection)
            seconds.append(time.perf_counter() - began)
    samples = sum(not line.startswith(b"#") for line in text.splitlines() if line)
    return {"seconds": seconds, "samples": samples}


def crowd(port: int, count: int, clients: int) -> dict[str, object]:
    """The number of successful scrapes, and the error of each other one."""
    done, failed, lock = [0], list[str](), threading.Lock()

    def work(number: int) -> None:
        # A slow one scrapes less often, or the rest would wait for it.
        is_slow = number % SLOW_EVERY == 0
        for turn in range(10 if is_slow else share):
            try:
                if turn % 50 == 0:
                    connection = connect(port)
                scrape(connection, 0.01 if is_slow else 0.0)
            except (OSError, ValueError, zlib.error) as error:
                with lock:
                    failed.append(f"{type(error).__name__}: {error}")
                connection = connect(port)
                continue
            with lock:
                done[0] += 1

    slow = len(range(0, clients, SLOW_EVERY))
    share = -(-(count - 10 * slow) // (clients - slow))
    half_open = [connect(port) for _ in range(HALF_OPEN)]
    for connection in half_open:
        connection.sendall(REQUEST[:25])
    threads = [threading.Thread(target=work, args=[number]) for number in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"done": done[0], "failed": failed, "seconds": time.monotonic() - began}


def main() -> int:
    port, count, more = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    result = crowd(port, count, int(more[1])) if more[:1] == ["--crowd"] else alone(port, count, float((more or ["0"])[0]))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
