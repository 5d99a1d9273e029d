"""A TV on HDMI-CEC, on the line that the kernel's `vivid` driver emulates: switched by plan, by hand, and odd TVs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.machine.vimeo import VimeoStandIn

from . import VM, build
from .box import API_PORT, LIVE_PORT, Box, Note, recipe
from .stream import SmallStream
from .tv_line import (
    HOUR,
    SOON_SECONDS,
    TvLine,
    remove_plan,
    span,
    switch_off_by_plan,
    tv_reports,
    write_plan,
)

SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
BOOT_SECONDS = 240.0
RUN = "systemctl start livekeep-tv.service"
CEC = "from livekeep.system import cec; tv = cec.find('/dev/cec1')"


@pytest.fixture(scope="module", params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A machine with livekeep whose boot is over."""
    image = build(recipe(request.param))
    with VimeoStandIn() as vimeo, SmallStream() as live, contextlib.ExitStack() as stack:
        machine = VM(image, serve={API_PORT: vimeo.port, LIVE_PORT: live.port})
        stack.push(machine)
        machine.start(BOOT_SECONDS)
        machine.wait_booted(BOOT_SECONDS)
        yield Box(machine, vimeo, live)


@pytest.fixture(scope="module")
def line(box: Box) -> TvLine:
    """The line, without a TV."""
    return TvLine(box.machine)


def evaluate(box: Box, expression: str) -> str:
    """The value of an expression about `tv`, or the message of its error."""
    script = f"{CEC}\ntry: print({expression})\nexcept cec.CecError as error: print(error)"
    return box.machine.run('python3 -c "$(cat)"', stdin=script.encode(), timeout=300).stdout.strip()


@pytest.mark.nightly
def test_the_tv_is_on_at_the_time_of_the_plan(box: Box, line: TvLine, note: Note) -> None:
    switch_off_by_plan(box, line)
    due = (line.now() + 20) // 60 * 60 + 60
    write_plan(box, span(due, due + 6 * HOUR))
    tv_reports(box, "on")
    assert line.names() == ["STANDBY", "IMAGE_VIEW_ON"]
    took = next(it.seconds for it in line.messages() if it.name == "IMAGE_VIEW_ON") - due
    note("plan says on to HDMI-CEC command", took)
    assert 0 <= took < SOON_SECONDS
    remove_plan(box)


@pytest.mark.nightly
def test_a_tv_that_somebody_switches_on_stays_on_until_the_next_change(box: Box, line: TvLine) -> None:
    switch_off_by_plan(box, line)
    now = line.now()
    line.start_tv()
    box.machine.run(f"{RUN}; {RUN}", timeout=300)
    write_plan(box, span(now + 3 * HOUR, now + 5 * HOUR))
    assert line.names() == []
    assert line.power() == "on"
    write_plan(box, span(now - 6 * HOUR, now + 6 * HOUR))
    tv_reports(box, "on")
    write_plan(box, span(now + 3 * HOUR, now + 4 * HOUR))
    tv_reports(box, "off")
    assert line.names() == ["IMAGE_VIEW_ON", "STANDBY"]
    remove_plan(box)
    tv_reports(box, "on")


@pytest.mark.nightly
def test_an_event_brings_the_tv_to_our_input(box: Box, line: TvLine) -> None:
    line.plug()
    line.start_tv()
    write_plan(box, "off", active_source=True)
    tv_reports(box, "off")
    box.goes_live()
    tv_reports(box, "on")
    assert line.names()[:3] == ["STANDBY", "IMAGE_VIEW_ON", "ACTIVE_SOURCE"]
    assert set(line.names()[3:]) <= {"ACTIVE_SOURCE"}
    assert box.state("tv")["is_wanted"]
    box.vimeo.go_off()
    remove_plan(box)


@pytest.mark.nightly
def test_a_tv_without_cec_is_blanked_or_said_to_be_without(box: Box, line: TvLine) -> None:
    line.plug()
    line.stop_tv()
    write_plan(box, "off")
    box.machine.wait_for(lambda: not box.state("tv").get("is_wanted"), SOON_SECONDS)
    assert box.state("tv")["method"] in ("blank", "black")
    write_plan(box, "on", method="cec")
    box.machine.wait_for(lambda: "the TV does not answer on HDMI-CEC" in box.state("tv").get("problem", ""), SOON_SECONDS)
    remove_plan(box)


@pytest.mark.nightly
def test_no_cable_is_said_but_nothing_is_to_be_switched_off(box: Box, line: TvLine) -> None:
    line.pull()
    line.stop_tv()
    # The emulated line does not tell its connector, so that of the picture counts.
    box.machine.connect_tv(connected=False)
    assert evaluate(box, "tv.switch(True)") == "/dev/cec1: no TV is on the HDMI cable; check the cable, and the TV's mains switch"
    assert evaluate(box, "(tv.switch(False), tv.power())") == "(None, 'unknown')"
    box.machine.connect_tv(connected=True)
    assert evaluate(box, "tv.switch(False)").startswith("/dev/cec1: Virtual-1 is connected but has no HDMI-CEC address; ")


@pytest.mark.nightly
def test_a_tv_without_cec_is_said(box: Box, line: TvLine) -> None:
    line.stop_tv()
    line.plug()
    assert evaluate(box, "tv.switch(False)").startswith("the TV does not answer on HDMI-CEC; enable it in its menu (Anynet+, ")
    assert evaluate(box, "tv.power()") == "unknown"


@pytest.mark.nightly
def test_a_tv_goes_off_and_on(box: Box, line: TvLine) -> None:
    line.plug()
    line.start_tv()
    assert evaluate(box, "tv.switch(False)") == "None"
    assert evaluate(box, "tv.confirm(False)") == "off"
    assert line.names() == ["STANDBY"]
    assert evaluate(box, "tv.switch(True, takes_input=True)") == "None"
    assert evaluate(box, "tv.confirm(True, takes_input=True)") == "on"
    assert line.power() == "on"
    assert evaluate(box, "cec.find().adapter.device") == "/dev/cec1"
    assert line.names() == ["STANDBY", "IMAGE_VIEW_ON", "ACTIVE_SOURCE", "ACTIVE_SOURCE"]


@pytest.mark.nightly
def test_a_tv_that_refuses_is_asked_three_times_and_no_more(box: Box, line: TvLine) -> None:
    line.plug()
    line.start_tv("--ignore=all,0x36")
    assert evaluate(box, "(tv.switch(False), tv.confirm(False))").startswith(
        "the TV acknowledges HDMI-CEC commands but stays on; "
    )
    assert line.names() == ["STANDBY"] * 3


@pytest.mark.nightly
def test_a_tv_that_tells_nothing_is_switched_once(box: Box, line: TvLine) -> None:
    line.plug()
    line.start_tv("--ignore=all,0x8f")
    assert evaluate(box, "(tv.switch(False), tv.confirm(False))") == "(None, 'unknown')"
    assert line.names() == ["STANDBY"]


@pytest.mark.nightly
def test_the_address_comes_back_with_the_cable(box: Box, line: TvLine) -> None:
    line.plug()
    line.start_tv("--standby")
    assert evaluate(box, "tv.power()") == "off"
    line.pull()
    line.plug()
    assert evaluate(box, "tv.switch(True)") == "None"
    assert line.names() == ["IMAGE_VIEW_ON"]


@pytest.mark.nightly
def test_only_root_and_group_video_may(box: Box, line: TvLine) -> None:
    line.plug()
    told = box.machine.run(f'runuser -u nobody -- python3 -c "{CEC}"', check=False).stderr
    assert told.endswith("/dev/cec1: may be used by root and group video only; run with sudo\n")
    told = box.machine.run("python3 -c 'from livekeep.system import cec; cec.find(\"/dev/cec7\")'", check=False).stderr
    assert told.endswith("/dev/cec7: no such device; choose one of /dev/cec* for tv.cec_device\n")
