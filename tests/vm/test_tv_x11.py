"""The output of an X server switched off and on: its power management needs a graphics card, which a container does not have."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import pytest

from tests.machine.vimeo import VimeoStandIn

from . import VM, build
from .box import API_PORT, LIVE_PORT, Box, recipe
from .stream import SmallStream
from .test_livekeep import BOOT_SECONDS, instance, power, switch

SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
SERVER = """\
[Service]
ExecStart=/usr/lib/xorg/Xorg :0 -ac -noreset -nolisten tcp -nocursor vt7
"""
CONFIG = b'[screen]\noutput = "x11"\nx11_display = ":0"\n'


@pytest.fixture(scope="module", params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A machine whose screen is an X server's."""
    standard = recipe(request.param)
    image = build(dataclasses.replace(standard, packages=(*standard.packages, "xserver-xorg-core")))
    with VimeoStandIn() as vimeo, SmallStream() as live, contextlib.ExitStack() as stack:
        machine = VM(image, serve={API_PORT: vimeo.port, LIVE_PORT: live.port})
        stack.push(machine)
        machine.start(BOOT_SECONDS)
        yield Box(machine, vimeo, live)


@pytest.mark.nightly
def test_the_server_switches_the_output_off_and_on(box: Box) -> None:
    box.machine.put("/etc/systemd/system/x-server.service", SERVER.encode())
    box.machine.put("/etc/livekeep/livekeep.d/60-x11.toml", CONFIG)
    box.machine.run("systemctl daemon-reload; livekeep apply; systemctl stop livekeep-display", timeout=BOOT_SECONDS)
    box.machine.run("systemctl start x-server livekeep-display", timeout=BOOT_SECONDS)
    box.shows("holding", BOOT_SECONDS)
    before = instance(box)
    switch(box, "off")
    assert (power(box), box.picture()) == ("Off", "black")
    assert box.state("tv")["method"] == "blank"
    switch(box, "on")
    box.shows("holding")
    assert (power(box), instance(box)) == ("On", before)
