"""An HDMI-CEC line with a TV at its other end, by the kernel's `vivid` driver and the programs of v4l-utils; and plans for it.

/dev/cec0 is the TV's end, /dev/cec1 ours. `cec-follower` plays the TV; `cec-ctl --monitor-all` writes what is on the line into
the journal, with the time.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from tests.machine.room import toml

from .box import Box
from .vm import VM

MODULE = "vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=0x3 num_outputs=1 output_types=0x1"
SWITCH = "hdmi_000_0_is_connected_to"
"""The cable's control, since Linux 6.9 or so; before, the TV's EDID is taken away instead."""
SOON_SECONDS = 180.0
"""Enough for an emulated processor on a busy machine."""
PLAN = "/etc/livekeep/livekeep.d/60-plan.toml"
HOUR = 3600.0


class Message(NamedTuple):
    """A message on the line, such as "STANDBY", with the Unix time in the machine."""

    seconds: float
    name: str


class TvLine:
    """The cable and the TV of one machine; nothing is connected at first."""

    def __init__(self, machine: VM) -> None:
        """Load the driver."""
        self.machine = machine
        machine.run(f"modprobe {MODULE} && udevadm settle")
        self._has_switch = SWITCH in machine.run("v4l2-ctl -d0 -l").stdout
        self.pull()

    def plug(self) -> None:
        """Connect the cable, and wait until the kernel has an address."""
        self.machine.run("v4l2-ctl -d0 --set-edid type=hdmi")
        if self._has_switch:
            self.machine.run(f"v4l2-ctl -d0 --set-ctrl {SWITCH}=2")
        self.machine.wait_for(lambda: ": f.f.f.f" not in self._ours(), SOON_SECONDS)

    def pull(self) -> None:
        """Pull the cable."""
        self.machine.run(f"v4l2-ctl -d0 --set-ctrl {SWITCH}=1" if self._has_switch else "v4l2-ctl -d0 --clear-edid")
        self.machine.wait_for(lambda: ": f.f.f.f" in self._ours(), SOON_SECONDS)

    def start_tv(self, *options: str) -> None:
        """Switch a TV on, or for "--standby" have one in standby; more options of cec-follower make it odd."""
        self.stop_tv()
        self.machine.run("cec-ctl -s -d0 --tv -o TestTV")
        self.machine.run("systemd-run -q --unit=line cec-ctl -d0 --skip-info --monitor-all")
        self.machine.run(f"systemd-run -q --unit=tv cec-follower -d0 {' '.join(options)}")
        # It asks who is on the line before it plays a TV.
        self.machine.wait_for(lambda: "Initial Event" in self._log("tv"), SOON_SECONDS)
        self._begin = self.now()

    def stop_tv(self) -> None:
        """A TV without CEC: nobody acknowledges."""
        self.machine.run("systemctl stop tv line 2>/dev/null; cec-ctl -s -d0 --clear", check=False)

    def messages(self) -> list[Message]:
        """What was sent to the TV, or to all, since it was switched on."""
        found = re.findall(r"^([0-9.]+) .*: Received from .*: ([A-Z_]+) \(0x", self._log("line"), re.MULTILINE)
        return [Message(float(seconds), name) for seconds, name in found if float(seconds) > self._begin]

    def names(self) -> list[str]:
        """The commands among the messages, in order."""
        return [it.name for it in self.messages() if it.name in ("IMAGE_VIEW_ON", "STANDBY", "ACTIVE_SOURCE")]

    def power(self) -> str:
        """What the TV is, as our end is told."""
        output = self.machine.run("cec-ctl -s -d1 --to 0 --give-device-power-status").stdout
        found = re.search(r"pwr-state: ([\w-]+)", output)
        return found[1] if found else output

    def now(self) -> float:
        """Unix time in the machine."""
        return float(self.machine.run("date +%s.%N").stdout)

    def _ours(self) -> str:
        return self.machine.run("cec-ctl -d1").stdout

    def _log(self, unit: str) -> str:
        return self.machine.run(
            f"journalctl --no-pager -o short-unix _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {unit})"
        ).stdout

    def remove(self) -> None:
        """Unload the driver."""
        self.stop_tv()
        self.machine.run("modprobe -r vivid")


def write_plan(box: Box, daily: str, **tv: bool | str) -> None:
    """Set the same plan for each day, and the keys of [tv], and let them take effect. The end of an event changes nothing."""
    box.machine.put(PLAN, toml({"schedule": {"daily": daily, "around_events": "0"}, "tv": tv}).encode())
    # Nobody sets the machine's clock.
    box.machine.run("mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized && livekeep apply", timeout=300)


def remove_plan(box: Box) -> None:
    """Back to the default: always on."""
    box.machine.run(f"rm {PLAN} && livekeep apply", timeout=300)


def span(first: float, last: float) -> str:
    """A span of the plan, between two Unix times; the machine's time zone is UTC."""
    return "-".join(time.strftime("%H:%M", time.gmtime(seconds)) for seconds in (first, last))


def tv_reports(box: Box, power: str) -> None:
    """Wait until livekeep-tv has published that the TV is "on" or "off"."""
    box.machine.wait_for(lambda: box.state("tv").get("power") == power, SOON_SECONDS, pause=0.5)


def switch_off_by_plan(box: Box, line: TvLine) -> None:
    """Switch a TV on, and set a plan that says off: it gets one command, and livekeep goes on."""
    line.plug()
    line.start_tv()
    now = line.now()
    write_plan(box, span(now + 3 * HOUR, now + 4 * HOUR))
    tv_reports(box, "off")
    assert line.names() == ["STANDBY"]
    state = box.state("tv")
    assert (state["is_wanted"], state["method"], state["problem"]) == (False, "cec", "")
