"""Scrapes an exporter from inside the machine, as Prometheus does, and prints what it saw as JSON.

scraper.py PORT COUNT [PAUSE-SECONDS]     one client, one kept connection
scraper.py PORT COUNT --crowd CLIENTS     many at once; among them some that read slowly, and others that never finish asking
"""

import gzip
import http.client
import json
import sys
import threading
import time

HEADERS = {"Accept-Encoding": "gzip", "Accept": "text/plain;version=0.0.4"}
PATIENCE_SECONDS = 60.0
SLOW_EVERY = 10
"""One in this many of the crowd's clients reads slowly."""
HALF_OPEN = 300


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)


def scrape(connection: http.client.HTTPConnection, pause_seconds: float = 0.0) -> bytes:
    """The text of one response. Raises `OSError`, `HTTPException` or `ValueError` when it is invalid."""
    connection.request("GET", "/metrics", headers=HEADERS)
    answer = connection.getresponse()
    if answer.status != 200:
        raise ValueError(f"{answer.status} {answer.reason}")
    body = b""
    while block := answer.read(256 if pause_seconds else 65536):
        time.sleep(pause_seconds)
        body += block
    text = gzip.decompress(body)
    if not text.endswith(b"\n"):
        raise ValueError("the answer is cut off")
    return text


def alone(port: int, count: int, pause_seconds: float) -> dict[str, object]:
    """The seconds of each scrape."""
    seconds, text, connection = [], b"", connect(port)
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
            except (OSError, ValueError, http.client.HTTPException) as error:
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
        connection.connect()
        connection.sock.sendall(b"GET /metrics HTTP/1.1\r\nHo")
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
