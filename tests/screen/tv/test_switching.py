"""What livekeep-tv sends to the TV and what it publishes, with a stand-in for cec-ctl that answers with recorded outputs."""

import threading
import time
from pathlib import Path

import pytest

from livekeep.core.state import OnAir, TvByHand
from tests.screen.tv.test_oneshot import OFF, Tv, times

RECORDED = Path(__file__).parent / "cec/1.30"
CEC_CTL = """#!/bin/sh
for word in "$@"; do
    case $word in
        --standby) next=standby ;;
        --image-view-on) next=on ;;
        --active-source) echo active-source >>{root}/sent; continue ;;
        --give-device-power-status) exec cat {recorded}/"$(cat {root}/answer || echo power-"$(cat {root}/power)")".txt ;;
        *) continue ;;
    esac
    echo "$next" >>{root}/sent
    [ -e {root}/answer ] && exec cat {recorded}/"$(cat {root}/answer)".txt
    [ -e {root}/stubborn ] || echo "$next" >{root}/power
    exec cat {recorded}/"$next".txt
done
cat {recorded}/claimed.txt
"""


class CecTv(Tv):
    """A TV on HDMI-CEC. `answer`, if set, is the recorded answer to everything."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "power").write_text("on")
        program = root / "programs/cec-ctl"
        program.write_text(CEC_CTL.format(root=root, recorded=RECORDED))
        program.chmod(0o755)

    def plan(self, days: str, method: str = "auto", tables: str = "") -> None:
        self.configure(days, f'cec_device = "/dev/cec1"\n{tables}')
        file = self.root / "etc/livekeep/livekeep.toml"
        file.write_text(file.read_text().replace('method = "black"', f'method = "{method}"'))

    def answers(self, name: str) -> None:
        (self.root / "answer").write_text(name)

    def sent(self) -> list[str]:
        """What has been sent since the last call."""
        file = self.root / "sent"
        words = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return words


@pytest.fixture
def tv(tmp_path: Path) -> CecTv:
    return CecTv(tmp_path)


def test_each_change_is_sent_once(tv: CecTv) -> None:
    tv.plan(OFF)
    tv.run()
    assert (tv.state().method, tv.state().power, tv.state().problem) == ("cec", "off", "")
    assert tv.sent() == ["standby"]
    # Somebody switches it on by its remote control.
    (tv.root / "power").write_text("on")
    tv.run()
    assert tv.sent() == []
    tv.plan('daily = "on"\n')
    tv.run()
    assert (tv.state().is_wanted, tv.state().power, tv.sent()) == (True, "on", ["on"])


def test_what_is_switched_by_hand_is_sent_even_if_it_is_no_change(tv: CecTv) -> None:
    tv.plan('daily = "on"\n')
    tv.run()
    assert tv.sent() == ["on"]
    tv.write(TvByHand(is_on=True, at=time.time()))
    tv.run()
    tv.run()
    assert tv.sent() == ["on"]


def test_nothing_is_sent_before_the_clock_is_set(tv: CecTv) -> None:
    (tv.root / "run/systemd/timesync/synchronized").unlink()
    tv.plan(times(60, 120))
    tv.run()
    before = tv.sent() if not tv.state().is_clock_set else []
    tv.set_clock()
    tv.run()
    assert (before, tv.state().is_wanted) == ([], False)


def test_a_tv_that_never_knew_cec_is_no_problem_for_auto(tv: CecTv) -> None:
    tv.answers("not-acknowledged")
    tv.plan(OFF)
    tv.run()
    assert (tv.state().method, tv.state().problem) == ("black", "")
    assert "not over HDMI-CEC: the TV does not answer" in tv.said


def test_a_tv_that_stops_to_answer_is_one(tv: CecTv) -> None:
    tv.plan('daily = "on"\n')
    tv.run()
    tv.answers("not-acknowledged")
    tv.plan(OFF)
    tv.run()
    assert (tv.state().method, tv.state().problem) == ("black", "the TV does not answer on HDMI-CEC")
    assert tv.state().advice.startswith("enable it in its menu")


def test_with_the_method_cec_there_is_no_other(tv: CecTv) -> None:
    tv.answers("not-acknowledged")
    tv.plan(OFF, "cec")
    tv.run()
    assert (tv.state().is_wanted, tv.state().method) == (False, "none")
    assert tv.state().problem == "the TV does not answer on HDMI-CEC"


def test_without_cec_ctl_it_says_what_to_install(tv: CecTv) -> None:
    (tv.root / "programs/cec-ctl").write_text("#!/nowhere\n")
    tv.plan(OFF, "cec")
    tv.run()
    assert tv.state().problem
    assert "v4l-utils" in tv.state().advice


def test_an_event_brings_the_tv_to_our_input(tv: CecTv) -> None:
    tv.plan('daily = "on"\n', tables="active_source = true\n")
    tv.run()
    assert tv.sent() == ["on"]
    tv.write(OnAir(is_live=True))
    tv.run()
    assert set(tv.sent()) == {"on", "active-source"}
    # A short interruption is no new event.
    for is_live in (True, False, True):
        tv.write(OnAir(is_live=is_live))
        tv.run()
    assert tv.sent() == []


def test_an_event_that_begins_while_the_tv_is_being_switched_off_is_not_lost(tv: CecTv) -> None:
    """systemd does not start a unit that is starting; so each run looks again at its end, and does not wait for the TV then."""
    (tv.root / "stubborn").touch()
    tv.plan(OFF)

    def go_live() -> None:
        while not (tv.root / "sent").exists():
            time.sleep(0.05)
        tv.write(OnAir(is_live=True))

    thread = threading.Thread(target=go_live)
    thread.start()
    tv.run()
    thread.join()
    assert (tv.state().is_wanted, tv.state().reason, tv.sent()) == (True, "the stream is live", ["standby", "on"])
