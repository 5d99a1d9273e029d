"""Boots a virtual machine with a screen and a sound card, and looks at both from outside.

    with VM(build(Recipe(packages=("mpv",))), serve={}) as machine:
        machine.run("systemctl is-system-running --wait")
        width, height, pixels = machine.screendump()

The image stays as it was built: a machine writes to an overlay, which lives as long as the `VM` object.
Source: QEMU's QMP reference (screendump, quit, send-key).
"""

from __future__ import annotations

import base64
import itertools
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .image import Image
from .lines import Lines
from .recordings import read_ppm

BOOT_SECONDS = 120.0
RUN_SECONDS = 60.0
KERNEL_OPTIONS = "root=/dev/vda rw quiet console=ttyS0 fsck.mode=skip mitigations=off random.trust_cpu=on"
GUEST_HOST = "10.0.2.100"


@dataclass(frozen=True)
class Result:
    """What a command in the machine left: its exit code (124: out of time) and its output."""

    code: int
    stdout: str
    stderr: str


class CommandFailedError(AssertionError):
    """A command in the machine did not end with 0."""


class VM:
    """One machine: `start` (or `with`) powers it on, `power_cut` and `stop` end it, `start` boots the same disk again."""

    PROGRAM = "qemu-system-x86_64"
    BOARD: Mapping[str, str] = {"-M": "q35,smbus=off,sata=off", "-cpu": "Nehalem"}
    RESET_OPTIONS: tuple[str, ...] = ("-no-reboot",)
    """QEMU ends when the guest resets the machine, so that a test sees a kernel panic at once."""

    def __init__(
        self,
        image: Image,
        *,
        serve: Mapping[int, int],
    ) -> None:
        """Prepare a machine with a fresh overlay.

        `serve` maps TCP ports at GUEST_HOST, as the machine sees it, to ports of 127.0.0.1 here; it has no other
        network.
        """
        self._image = image
        self.kernel_options = ""
        """More options of the kernel's, from the next start on."""
        self.serve = serve
        self.directory = Path(tempfile.mkdtemp(prefix="livekeep-vm-"))
        self._boot = 0
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.started_monotonic = 0.0
        self._make_disk()

    def _make_disk(self) -> None:
        self._overlay = self.directory / "overlay.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self._image.disk)]
        subprocess.run([*create, str(self._overlay)], check=True)

    def _disk_options(self) -> dict[str, str]:
        """What QEMU boots."""
        return {
            "-kernel": str(self._image.kernel),
            "-initrd": str(self._image.initrd),
            "-append": f"{KERNEL_OPTIONS} {self.kernel_options}",
            "-drive": f"file={self._overlay},if=virtio,format=qcow2,cache=unsafe",
        }

    def __enter__(self) -> VM:
        """Power on and wait for the agent."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Power off and throw the overlay away."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def console(self) -> str:
        """What the kernel and systemd wrote to the serial console since the last power-on."""
        return (self.directory / f"console-{self._boot}.log").read_text(errors="replace")

    @property
    def wav(self) -> Path:
        """The recording of the sound card since the last power-on; QEMU flushes it when the machine ends."""
        return self.directory / f"sound-{self._boot}.wav"

    def start(self, timeout: float = BOOT_SECONDS) -> None:
        """Power on; returns when commands can run. Raises TimeoutError with the console's last lines."""
        self.power_on()
        try:
            self._await(lambda: self._is_ready, timeout, "the machine's agent does not answer")
        except BaseException:
            self.stop()
            raise

    def power_on(self) -> None:
        """Power on without waiting for the machine."""
        if self._process is not None:
            raise RuntimeError("the machine is on already")
        self._boot += 1
        with (self.directory / f"qemu-{self._boot}.log").open("wb") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=subprocess.STDOUT)
        self.started_monotonic = time.monotonic()
        try:
            self._qmp = Lines(self.directory / f"qmp-{self._boot}", 10)
            self._qmp.receive(10)
            self._qmp_lock = threading.Lock()
            self.qmp("qmp_capabilities")
            self._agent = Lines(self.directory / f"agent-{self._boot}", 10)
            self._replies: dict[int, dict[str, Any]] = {}
            self._replied = threading.Condition()
            self._is_ready = self._is_off = False
            threading.Thread(target=self._listen, args=(self._agent,), daemon=True).start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Power off without asking the guest, if it is on."""
        if self._process is None:
            return
        if self._process.poll() is None:
            try:
                self.qmp("quit")
                self._process.wait(10)
            except (OSError, EOFError, AttributeError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        self._process = None
        for name in ("_qmp", "_agent"):
            if hasattr(self, name):
                getattr(self, name).close()

    def power_cut(self) -> None:
        """Power off at once."""
        self.stop()

    def is_off(self) -> bool:
        """Whether the machine has powered itself off, or was never on."""
        return self._process is None or self._process.poll() is not None

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Call QEMU. Raises RuntimeError with its description when it refuses."""
        with self._qmp_lock:
            self._qmp.send({"execute": command, "arguments": arguments})
            while True:
                reply = self._qmp.receive(30)
                if "error" in reply:
                    raise RuntimeError(f"QMP {command}: {reply['error']['desc']}")
                if "return" in reply:
                    return reply["return"]

    def wait_booted(self, timeout: float = BOOT_SECONDS) -> str:
        """Wait until the boot is over, with all drivers loaded; returns systemd's word (`running`, `degraded`)."""
        state = self.run("systemctl is-system-running --wait", check=False, timeout=timeout).stdout.strip()
        self.run("udevadm settle", timeout=timeout)
        return state

    def connect_tv(self, *, connected: bool) -> None:
        """Plug the TV in or out. To boot without one: kernel_options="video=Virtual-1:d"."""
        # `detect` asks the card again, whose screen is always there.
        word = "detect" if connected else "off"
        self.run(f"echo {word} >/sys/class/drm/card0-Virtual-1/status")

    def send_keys(self, *keys: str) -> None:
        """Press keys one after the other; `ctrl-alt-f2` presses three at once. Names are QEMU's QKeyCode."""
        for key in keys:
            codes = [{"type": "qcode", "data": code} for code in key.split("-")]
            self.qmp("send-key", keys=codes)
            time.sleep(0.15)

    def run(
        self,
        command: str,
        *,
        check: bool = True,
        stdin: bytes = b"",
        timeout: float = RUN_SECONDS,
    ) -> Result:
        """Run a bash command in the machine; safe from several threads at once.

        Raises CommandFailedError (unless `check` is false), TimeoutError when the machine hangs, EOFError when
        it is off.
        """
        number = next(self._numbers)
        request = {"id": number, "command": command, "timeout": timeout}
        self._agent.send(request | {"stdin": base64.b64encode(stdin).decode()})
        self._await(lambda: number in self._replies, timeout + 30, f"no answer to {command!r}")
        reply = self._replies.pop(number)
        stdout, stderr = (base64.b64decode(reply[name]).decode(errors="replace") for name in ("stdout", "stderr"))
        if check and reply["code"]:
            raise CommandFailedError(f"{command!r} ended with {reply['code']}\n{stdout}{stderr}")
        return Result(reply["code"], stdout, stderr)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file in the machine, and its directories."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {quoted}) && cat >{quoted} && chmod {mode:o} {quoted}", stdin=content)

    def wait_for(self, condition: Callable[[], object], timeout: float = 30.0, pause: float = 0.2) -> float:
        """Wait until the condition holds; returns the seconds it took. Raises TimeoutError."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > timeout:
                raise TimeoutError(f"not within {timeout} s; the console ends:\n{self.console[-2000:]}")
            time.sleep(pause)
        return time.monotonic() - begin

    def screendump(self) -> tuple[int, int, bytes]:
        """Return what the screen shows: width, height, and rows of 3 bytes (red, green, blue) a pixel."""
        path = self.directory / "screen.ppm"
        self.qmp("screendump", filename=str(path))
        return read_ppm(path.read_bytes())

    def _listen(self, agent: Lines) -> None:
        while True:
            try:
                message = agent.receive(None)
            except (OSError, EOFError):
                with self._replied:
                    self._is_off = True
                    self._replied.notify_all()
                return
            with self._replied:
                if "ready" in message:
                    self._is_ready = True
                else:
                    self._replies[message["id"]] = message
                self._replied.notify_all()

    def _await(self, done: Callable[[], bool], timeout: float, problem: str) -> None:
        with self._replied:
            self._replied.wait_for(lambda: done() or self._is_off, timeout)
            if done():
                return
            if self._is_off:
                raise EOFError(f"the machine is off: {problem}\n{self._last_words()}")
            raise TimeoutError(f"{problem} within {timeout} s\n{self._last_words()}")

    def _last_words(self) -> str:
        return (self.directory / f"qemu-{self._boot}.log").read_text(errors="replace") + self.console[-3000:]

    def _command(self) -> list[str]:
        boot, directory = self._boot, self.directory
        options = {
            **self.BOARD,
            "-accel": "tcg,thread=multi",
            "-smp": "2",
            "-m": "2048",
            "-display": "none",
            "-vga": "none",
            "-qmp": f"unix:{directory}/qmp-{boot},server=on,wait=off",
            "-serial": f"file:{directory}/console-{boot}.log",
            "-audiodev": f"wav,id=sound,path={self.wav}",
        } | self._disk_options()
        devices = [
            "virtio-gpu-pci,xres=1280,yres=720",
            "intel-hda",
            "hda-output,audiodev=sound",
            "virtio-serial-pci",
            "virtserialport,chardev=agent,name=livekeep.agent",
            "virtio-net-pci,netdev=net",
        ]
        command = [self.PROGRAM, "-nodefaults", *self.RESET_OPTIONS]
        command += [word for option in options.items() for word in option]
        command += [word for device in devices for word in ("-device", device)]
        command += ["-chardev", f"socket,id=agent,path={directory}/agent-{boot},server=on,wait=off"]
        relay = Path(__file__).with_name("relay.py")
        forwards = (
            f",guestfwd=tcp:{GUEST_HOST}:{inside}-cmd:/usr/bin/python3 -I {relay} {outside}"
            for inside, outside in self.serve.items()
        )
        return [*command, "-netdev", f"user,id=net,restrict=on{''.join(forwards)}"]
