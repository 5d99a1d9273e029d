"""A real ingest for the tests: nginx with its RTMP module on ports that the kernel chose, and TLS in front of it if wanted.

It is found in PATH, the module in lib/nginx/modules beside any folder of PATH (as `unpack_tools` of tests/packages.sh lays it).
One process, so that it can be killed and stopped as one; the same port after every start. Its HTTP side answers its own
questions, connect, publish and play, by files of its folder, and the log of those answers counts what came on air.
"""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tests.outside import PATIENCE_SECONDS, wait_until

MODULE = "lib/nginx/modules/ngx_rtmp_module.so"
CONFIGURATION = """
daemon off;
master_process off;
{user}
load_module {module};
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
rtmp {{
    access_log off;
    server {{
        listen {address}:{port};
        # Out with every byte, and one picture after the other: gaps are to be seen as they are.
        chunk_size 4096;
        notify_method get;
        on_connect http://127.0.0.1:{http_port}/ask;
        application live {{
            live on;
            wait_key on;
            wait_video on;
            idle_streams off;
            drop_idle_publisher {idle_seconds}s;
            on_publish http://127.0.0.1:{http_port}/ask;
            on_publish_done http://127.0.0.1:{http_port}/ask;
        }}
    }}
}}
http {{
    log_format answers "$arg_call $arg_name $status";
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log off;
    server {{
        listen 127.0.0.1:{http_port};
        location = /ask {{
            access_log {folder}/answers.log answers;
            if (-f {folder}/refuse-$arg_call) {{ return 403; }}
            return 200;
        }}
        location = /stat {{ rtmp_stat all; }}
    }}
}}
"""


class Port:
    """A port that stays ours, served or not: bound but never listened to, which lets nginx bind it too."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


class Ingest:
    """nginx-rtmp at `url`, of which a stream is `url`/NAME. `address` may be "::1"; an idle publisher is dropped late."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", idle_seconds: int = 300) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._ports = (Port(address), Port("127.0.0.1"))
        self.port, self.http_port = (port.number for port in self._ports)
        self.host = f"[{address}]" if ":" in address else address
        self.url = f"rtmp://{self.host}:{self.port}/live"
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                # As root it would become nobody and could not write here.
                user="user root;" if os.geteuid() == 0 else "",
                module=module(),
                folder=folder,
                address=self.host,
                port=self.port,
                http_port=self.http_port,
                idle_seconds=idle_seconds,
            )
        )

    def start(self) -> None:
        with (self.folder / "stderr.log").open("ab") as output:
            self.process = subprocess.Popen(
                [shutil.which("nginx") or "/usr/sbin/nginx", "-c", self._configuration, "-p", self.folder, "-e", "stderr"],
                stdin=subprocess.DEVNULL,
                stderr=output,
            )
        wait_until(f"nginx answers; see {self.folder}", self.answers)

    def answers(self) -> bool:
        assert self.process and self.process.poll() is None, (self.folder / "stderr.log").read_text()
        try:
            self.statistics()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """As a crash ends it: nobody is told."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stall(self) -> None:
        """It reads nothing from now on, while its connections stay."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def refuse(self, call: str = "publish") -> None:
        """Answer 403 from now on to "publish" or "connect"."""
        (self.folder / f"refuse-{call}").touch()

    def accept(self, call: str = "publish") -> None:
        (self.folder / f"refuse-{call}").unlink(missing_ok=True)

    def publishes(self, name: str) -> int:
        """How often a publisher of stream `name` was let in since the beginning, killed servers' ones included."""
        return self._answers().count(f"publish {name} 200")

    def refusals(self) -> int:
        return sum(answer.endswith(" 403") for answer in self._answers())

    def _answers(self) -> list[str]:
        log = self.folder / "answers.log"
        return [urllib.parse.unquote(line) for line in log.read_text().splitlines()] if log.exists() else []

    def statistics(self) -> ElementTree.Element:
        """The page of the RTMP module, as XML. Raises `OSError` while it cannot be had."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/stat", timeout=PATIENCE_SECONDS) as answer:
            return ElementTree.fromstring(answer.read())  # noqa: S314 – our own server's

    def received_bytes(self, name: str) -> int | None:
        """What the present publisher of stream `name` has sent, None when there is none."""
        for stream in self.statistics().iter("stream"):
            if stream.findtext("name") == name and stream.find("publishing") is not None:
                return int(stream.findtext("bytes_in", "0"))
        return None

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.go_on()
            self.kill()
        for port in self._ports:
            port.close()


def module() -> Path:
    folders = [Path(folder).parent for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    for folder in [*folders, Path("/usr")]:
        if (folder / MODULE).exists():
            return folder / MODULE
    raise FileNotFoundError(f"{MODULE} is beside no folder of PATH: the package libnginx-mod-rtmp, see tests/packages.sh")


@contextlib.contextmanager
def ingest(folder: Path, address: str = "127.0.0.1") -> Iterator[Ingest]:
    """An ingest that runs, and is gone afterwards."""
    server = Ingest(folder, address)
    try:
        server.start()
        yield server
    finally:
        server.close()


AUTHORITY = """
[ca]
default_ca = ours
[ours]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = names
copy_extensions = copy
[names]
commonName = supplied
"""


class Certificates:
    """An authority of our own (`authority`), and a server's certificate for `name` with its key, valid from and until a year."""

    def __init__(self, folder: Path, name: str = "localhost", first: int = 2020, last: int = 2099) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority, authority_key = folder / "authority.pem", folder / "authority.key"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        new: list[str | Path] = ["openssl", "req", *key]
        own = [*new, "-x509", "-days", "2", "-subj", "/CN=Authority of the tests"]
        names = ["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
        request, settings = folder / "server.csr", folder / "authority.conf"
        settings.write_text(AUTHORITY.format(folder=folder))
        (folder / "index.txt").touch()
        valid = ["-startdate", f"{first}0101000000Z", "-enddate", f"{last}0101000000Z"]
        signing: list[str | Path] = ["openssl", "ca", "-batch", "-notext", "-rand_serial", "-config", settings]
        commands: list[list[str | Path]] = [
            [*own, "-keyout", authority_key, "-out", self.authority],
            [*new, "-subj", f"/CN={name}", *names, "-keyout", self.key, "-out", request],
            [*signing, "-cert", self.authority, "-keyfile", authority_key, *valid, "-in", request, "-out", self.certificate],
        ]
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)

    def vouch_for_themselves(self) -> None:
        """The server shows a certificate that it made itself."""
        shutil.copy(self.authority, self.certificate)
        shutil.copy(self.authority.with_suffix(".key"), self.key)


@contextlib.contextmanager
def encrypted(target: tuple[str, int], certificates: Certificates) -> Iterator[int]:
    """A port of 127.0.0.1 where TLS is spoken, and what comes out of it goes to `target` and back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listening.accept()
                    threading.Thread(target=relay_encrypted, args=(connection, context, target), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        # Only this wakes a thread that waits in accept().
        listening.shutdown(socket.SHUT_RDWR)


def relay_encrypted(connection: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    """Both ways between a connection with TLS and a plain one, until either ends, in the one thread that TLS allows."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(connection)
        inner = stack.enter_context(context.wrap_socket(connection, server_side=True))
        outer = stack.enter_context(socket.create_connection(target))
        inner.settimeout(0.02)
        outer.setblocking(False)
        while True:
            with contextlib.suppress(TimeoutError):
                block = inner.recv(65536)
                if not block:
                    return
                outer.settimeout(PATIENCE_SECONDS)
                outer.sendall(block)
                outer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                block = outer.recv(65536)
                if not block:
                    return
                inner.settimeout(PATIENCE_SECONDS)
                inner.sendall(block)
                inner.settimeout(0.02)
