"""Runs the operator's command without starting Python each time: a process that has imported it all forks for each run.

A run has its own environment, working folder, descriptors and exit code, and may replace itself or be killed, as a started one.
Only LIVEKEEP_ROOT is the same for all of them, since the modules take their paths from it when they are imported.
"""

import contextlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "lib"
LONGEST_SECONDS = 120.0
LARGEST_BYTES = 128 * 1024
"""Of a request, which is one packet: arguments and environment."""


class CommandForks:
    """The process that forks. `root` is the LIVEKEEP_ROOT of its runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "LIVEKEEP_ROOT": str(root)}
        command = [sys.executable, "-I", __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        theirs.close()
        self._socket.settimeout(LONGEST_SECONDS)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            given.write(stdin)
            given.seek(0)
            request = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
            descriptors = [it.fileno() for it in (given, out, errors)]
            socket.send_fds(self._socket, [request], descriptors)
            pid = int(self._socket.recv(LARGEST_BYTES))
            try:
                status = int(self._socket.recv(LARGEST_BYTES))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            out.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(["livekeep", *arguments], status, out.read(), errors.read())

    def close(self) -> None:
        self._socket.close()
        self._process.wait(30)


def serve(connection: socket.socket) -> None:
    """Fork for each request until the other end is closed."""
    while True:
        request, descriptors, _flags, _address = socket.recv_fds(connection, LARGEST_BYTES, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            be_the_command(*json.loads(request), descriptors)
        connection.send(str(pid).encode())
        _pid, status = os.waitpid(pid, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def be_the_command(arguments: list[str], environment: dict[str, str], folder: str, descriptors: list[int]) -> None:
    """What bin/livekeep does, in a forked process."""
    from livekeep.command.main import main
    from livekeep.core.errors import exit_with_sentence

    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    time.tzset()
    sys.argv = ["livekeep", *arguments]
    status = 1
    try:
        status = exit_with_sentence(main)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.path.insert(0, str(LIBRARY))
    import livekeep.command

    for module in pkgutil.walk_packages(livekeep.command.__path__, "livekeep.command."):
        __import__(module.name)
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        serve(ours)
