"""The alerter itself: rules that change while it runs, silences, tests, addresses, a box without a record."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekeep.core.config.record import Alert, Notify
from livekeep.record.alerts import channels, notify
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.notify import Message
from tests.record.alert_box import Box, MailServer, box_in, wait_for


def rule(number: int, channel: str = "") -> str:
    return f'{channel}[alerts.mine]\nkind = "failures"\nnumber = {number}\ncooldown_seconds = 0\n'


def open_rules(box: Box) -> list[str]:
    return [alert["rule"] for alert in box.state()["open"]]


@given(changes=st.lists(st.sampled_from([1, 3, 5, 6, 100, -1, 0]), min_size=1, max_size=6))
@settings(deadline=None, max_examples=5, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hot_reload_effectiveness(changes: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each change of a rule applies at once in the running program; an invalid one leaves the rule as it was."""
    with box_in(tmp_path_factory.mktemp("box")) as box:
        for _call in range(5):
            box.call("fetch", error="x")
        box.configure(rule(100))
        box.start()
        assert box.process
        pid, in_force = box.process.pid, 100
        for number in changes:
            # 0 is no condition at all, and -1 is out of range.
            box.configure(rule(number))
            in_force = number if number > 0 else in_force
            expected = ["mine"] if in_force <= 5 else []
            wait_for(lambda expected=expected: open_rules(box) == expected, f"{number}: {expected}")  # type: ignore[misc]
        # The last valid change applies: nothing refused applies later.
        box.event("tick")
        wait_for(lambda: open_rules(box) == expected)
        assert box.process.poll() is None
        assert box.process.pid == pid


def test_a_refused_configuration_is_reported_and_a_good_one_is_taken_after_it(box: Box) -> None:
    box.configure(rule(100))
    box.start()
    box.call("fetch", error="x")
    box.configure(rule(1) + "severity = 'loud'\n")
    box.config.with_name("livekeep.d").joinpath("10-x.toml").write_text("[notify.log]\nfile = 'x'\n")
    box.config.with_name("livekeep.d").joinpath("10-x.toml").unlink()
    box.configure(rule(1))
    wait_for(lambda: open_rules(box) == ["mine"])


def test_a_message_arrives_with_no_more_configuration_than_the_address(box: Box, mail: MailServer) -> None:
    box.configure("", shipped=True)
    box.credential(f"me {mail.address()}\n")
    box.start()
    began = time.time()
    box.session("clip analysis", "failed", time.time())
    box.event("session-ended", "clip analysis failed: ValueError: no such clip", OUTCOME="failed", session_id="1")
    wait_for(lambda: mail.mails, "the mail")
    assert "clip analysis failed" in mail.subjects()[0]
    (row,) = box.rows("SELECT began_at, announced_at FROM alerts")
    assert began <= row["began_at"] <= row["announced_at"]


def test_without_a_record_it_starts_and_takes_one_that_comes(box: Box, mail: MailServer) -> None:
    box.record.close()
    for file in (box.root / "var/lib/livekeep/record").iterdir():
        file.unlink()
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n[alerts.any]\nevent = "*"\n')
    box.start()
    assert any("there is no record" in problem for problem in box.state()["problems"])
    other = Box(box.root)
    box.record = other.record
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n[alerts.any]\nevent = "*"\n')
    wait_for(lambda: not box.state()["problems"], "the record")
    wait_for(lambda: box.rows("SELECT 1 FROM positions"), "the position")
    box.event("something")
    wait_for(lambda: mail.mails)


def test_a_stop_brings_the_message_in_hand_to_its_end(box: Box, mail: MailServer) -> None:
    """Otherwise a restart, such as by set-address, would send it twice: nobody would know that the server has it."""
    mail.delay_seconds = 1.0
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n')
    for number in range(3):
        notify.submit(Message(f"message {number}", "text"), box.spool)
    box.start()
    wait_for(lambda: mail.connections)
    assert box.process
    children = Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text().split()
    for pid in [str(box.process.pid), *children]:
        # Like systemd with a unit's processes.
        os.kill(int(pid), signal.SIGTERM)
    box.process.wait()
    assert mail.subjects() == ["message 0"]
    mail.delay_seconds = 0.0
    box.start()
    wait_for(lambda: box.state()["waiting"] == 0)
    assert mail.subjects() == ["message 0", "message 1", "message 2"]


def test_it_ends_soon_and_keeps_what_waits(box: Box, mail: MailServer) -> None:
    mail.delay_seconds = 30.0
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n[alerts.any]\nevent = "*"\n')
    box.start()
    box.event("something")
    wait_for(lambda: box.rows("SELECT 1 FROM deliveries WHERE attempts > 0"))
    box.kill(signal.SIGTERM)
    mail.delay_seconds = 0.0
    box.start()
    wait_for(lambda: mail.mails)
    assert len(mail.mails) == 1


def test_a_damaged_database_is_set_aside(box: Box, mail: MailServer) -> None:
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n')
    file = box.root / "var/lib/livekeep/alerter/alerts.db"
    file.write_bytes(b"no database at all" * 500)
    box.start()
    assert any("is set aside as alerts.db.damaged-" in problem for problem in box.state()["problems"])
    assert box.alert("test", "me").returncode == 0


def test_who_is_first_given_an_address_is_reported_what_is_open(box: Box, mail: MailServer) -> None:
    both = '[alerts.any]\nevent = "*"\n' + rule(1)
    box.configure(both)
    box.start()
    box.event("something")
    box.call("fetch", error="x")
    wait_for(lambda: open_rules(box) == ["mine"])
    wait_for(lambda: not box.rows("SELECT 1 FROM gathering WHERE kind = 'event'"))
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n{both}')
    wait_for(lambda: mail.mails)
    assert [re.search("1 of 1 calls of fetch failed", subject) is not None for subject in mail.subjects()] == [True]


# The command


def test_a_test_message_says_what_became_of_it(box: Box, mail: MailServer) -> None:
    box.configure(f'[notify.me]\naddress = "{mail.address()}"\n')
    box.start()
    sent = box.alert("test", "me")
    assert (sent.returncode, sent.stdout) == (0, "me: the test message was delivered\n")
    assert "test message" in mail.subjects()[0]
    unknown = box.alert("test", "you")
    assert unknown.returncode == 1
    assert "there is no channel you" in unknown.stderr
    mail.refuse["me@example.org"] = "550 nobody here"
    refused = box.alert("test", "me")
    assert refused.returncode == 1
    assert "the mail server says 550 nobody here" in refused.stderr


def test_list_show_and_silence(box: Box) -> None:
    box.configure(f'{rule(1)}[notify.log]\nfile = "{box.root}/alerts.log"\n')
    box.start()
    assert box.alert("list").stdout.startswith("No alert is open.\n")
    box.call("fetch", error="no answer")
    wait_for(lambda: open_rules(box) == ["mine"])
    listed = box.alert("list")
    assert listed.returncode == 1
    assert "warning: 1 of 1 calls of fetch failed" in listed.stdout
    document = json.loads(box.alert("list", "--json").stdout)
    assert [alert["subject"] for alert in document["open"]] == ["fetch"]
    wait_for(lambda: box.state()["delivered"] == 1)
    everything = box.alert("list", "--all").stdout
    assert "log: delivered after 1 attempts" in everything
    assert "ValueError: no answer" in box.alert("show", "mine").stdout
    assert box.alert("show", "nosuch").returncode == 1
    silenced = box.alert("silence", "mine", "--for", "3h")
    assert silenced.returncode == 0
    wait_for(lambda: box.state()["open"][0]["is_silenced"])
    assert "Silenced: mine until" in box.alert("list").stdout
    assert box.alert("silence", "mine", "--end").returncode == 0
    wait_for(lambda: not box.state()["open"][0]["is_silenced"])
    assert box.alert("silence", "nosuch").returncode == 1
    assert box.alert("silence", "mine", "--for", "soon").returncode == 2


def test_an_address_is_stored_for_the_alerter_alone_and_is_shown_nowhere(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    (box.root / "etc/credstore").mkdir(mode=0o700)
    systemctl = box.root / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {box.root}/reported\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    file = box.root / "etc/credstore/livekeep.notify"
    first = box.alert("set-address", text="mailtos://anna:geheim@example.org?to=me@example.org\n")
    second = box.alert("set-address", "team", text="json://127.0.0.1/geheim")
    assert (first.returncode, second.returncode) == (0, 0)
    assert file.read_text() == "me mailtos://anna:geheim@example.org?to=me@example.org\nteam json://127.0.0.1/geheim\n"
    assert file.stat().st_mode & 0o777 == 0o600
    for wrong in ("", "geheim", "nosuch://geheim", "mailto://two words/geheim", "json://a/geheim\njson://b/geheim"):
        refused = box.alert("set-address", "team", text=wrong)
        assert refused.returncode == 1, wrong
        assert "geheim" not in refused.stdout + refused.stderr
    assert box.alert("set-address", "No Name", text="json://a").returncode == 1
    assert "team json://127.0.0.1/geheim\n" in file.read_text()
    given_file = box.root / "address"
    given_file.write_text("json://127.0.0.1/other\n")
    assert box.alert("set-address", "team", str(given_file)).returncode == 0
    assert "team json://127.0.0.1/other\n" in file.read_text()
    assert (box.root / "reported").read_text() == "try-restart livekeep-alerter.service\n" * 3


# Channels


def test_channels_are_those_of_the_tables_and_of_the_credential() -> None:
    secret, problems = channels.addresses("me mailto://a?to=b\n\nnonsense\nteam json://x  \nBad json://x\n")
    assert secret == {"me": "mailto://a?to=b", "team": "json://x"}
    assert len(problems) == 2
    tables = {
        "me": Notify(severity="critical"),
        "off": Notify(enabled=False, address="json://x"),
        "log": Notify(file="/tmp/x"),
        "none": Notify(),
        "own": Notify(address="json://y"),
    }
    result, problems = channels.channels(tables, secret)
    assert result == {
        "log": Channel("log", file="/tmp/x"),
        "me": Channel("me", "mailto://a?to=b", severity="critical"),
        "own": Channel("own", "json://y"),
        "team": Channel("team", "json://x"),
    }
    assert [problem.split(":")[0] for problem in problems] == ["notify.none"]
    (unknown,) = channels.unknown_names({"a": Alert(notify=("me", "nobody")), "b": Alert(enabled=False, notify=("x",))}, result)
    assert 'there is no channel "nobody"' in unknown
    assert "mailto" not in repr(result)


def test_an_idle_alerter_takes_little_memory(box: Box) -> None:
    """The idle alerter takes 30 MB at most; more means that it imported a delivery's libraries."""
    box.configure("", shipped=True)
    box.start()
    assert box.process
    text = Path(f"/proc/{box.process.pid}/smaps_rollup").read_text()
    kilobytes = int(re.search(r"^Pss:\s+(\d+) kB", text, re.M)[1])  # type: ignore[index]
    assert kilobytes < 30_000
