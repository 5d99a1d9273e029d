"""Run in the machine's network by the air part's benchmark: `watch` the API's status, or a crowd of requests.

The token comes on standard input. `watch` prints a line per response: the monotonic time and the pid of the last worker that
ended. A crowd (REQUESTS THREADS): prints one JSON object with the status codes, the total seconds, and the seconds of the slowest
request.
"""

from __future__ import annotations

import collections
import http.client
import json
import sys
import threading
import time

HOST, PORT = "127.0.0.1", 9878
KINDS = (("POST", "/streams/start"), ("POST", "/streams/stop"), ("GET", "/streams/status"))
PATIENCE_SECONDS = 120.0
PACE_SECONDS = 0.02


def ask(method: str, path: str, token: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, PORT, timeout=PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, "{}" if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def watch(token: str) -> None:
    while True:
        status, body = ask("GET", "/streams/status", token)
        at = time.monotonic()
        end = json.loads(body)["channels"][0]["last_end"] if status == 200 else None
        print(at, end["pid"] if end else 0, flush=True)
        time.sleep(PACE_SECONDS)


def crowd(requests: int, threads: int, token: str) -> dict[str, object]:
    codes: collections.Counter[str] = collections.Counter()
    slowest, lock, gate = 0.0, threading.Lock(), threading.Barrier(threads + 1)

    def one(first: int) -> None:
        nonlocal slowest
        gate.wait()
        for number in range(first, requests, threads):
            began = time.monotonic()
            try:
                code = str(ask(*KINDS[number % len(KINDS)], token)[0])
            except (OSError, http.client.HTTPException) as error:
                code = type(error).__name__
            with lock:
                codes[code] += 1
                slowest = max(slowest, time.monotonic() - began)

    # Small stacks: there are a thousand of them.
    threading.stack_size(256 * 1024)
    running = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in running:
        thread.join()
    return {"codes": dict(codes), "seconds": time.monotonic() - began, "slowest": slowest}


def main() -> int:
    """See the module."""
    token = sys.stdin.readline().strip()
    if sys.argv[1:] == ["watch"]:
        watch(token)
    print(json.dumps(crowd(int(sys.argv[1]), int(sys.argv[2]), token)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
