"""Deliveries: real servers that are down, slow, refuse, redirect and hang; nothing is lost or duplicated."""

import dataclasses
import email
import email.policy
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.alerts import delivery, notify, outbox, store
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.deliverer import Deliverer
from livekeep.record.alerts.notify import Attachment, Message
from tests.record.alert_box import Box, MailServer, WebHook, box_in, wait_for

NOW = 1_800_000_000.0


class Post:
    """An outbox and its deliverer, with a clock that jumps when there is nothing to wait for."""

    def __init__(self, folder: Path, *channels: Channel) -> None:
        self.database = store.open_for_writing(folder / "alerts.db")
        self.known = {channel.name: channel for channel in channels}
        self.now, self.steady = NOW, 0.0
        self.deliverer = Deliverer(self.database, folder / "receipts", lambda _descriptor, _ready: None, lambda _descriptor: None)
        self.deliverer.adopt(self.known)

    def put(self, *titles: str, kind: str = "event", **more: object) -> None:
        for title in titles:
            message = dataclasses.replace(Message(title, f"{title}\n", f"<p>{title}</p>"), **more)  # type: ignore[arg-type]
            outbox.enqueue(self.database, message, kind, self.known, self.now)

    def attempt(self) -> None:
        """Each channel with due messages is tried once."""
        self.deliverer.one_pass(self.now, self.steady)
        wait_for(self._is_idle, "the end of the deliveries")

    def _is_idle(self) -> bool:
        if not self.deliverer._children:
            return True
        before = set(self.deliverer._children)
        for name in before:
            if self.deliverer._children[name].process.poll() is not None:
                self.deliverer._reap(self.deliverer._children[name], self.now)
        return not self.deliverer._children

    def later(self, seconds: float = 5000.0) -> None:
        self.now += seconds
        outbox.summarise(self.database, self.known, self.now)

    def drain(self, most: int = 40) -> None:
        """Continue until nothing waits."""
        for _round in range(most):
            if outbox.waiting(self.database) == 0:
                return
            self.attempt()
            self.later()
        raise AssertionError(f"still waiting: {self.states()}")

    def states(self) -> dict[str, tuple[str, str]]:
        rows = self.database.execute(
            "SELECT m.title, d.channel, d.state, d.reason FROM deliveries d JOIN messages m ON m.id = d.message"
        )
        return {f"{row['title']} {row['channel']}": (row["state"], row["reason"]) for row in rows}


@pytest.fixture
def hook() -> Iterator[WebHook]:
    server = WebHook()
    yield server
    server.close()


TIMEOUTS = "rto=3&cto=3"
"""Seconds; with less, a busy machine's reply to a mail that was accepted may come too late, and the mail is sent again."""


def mail_channel(mail: MailServer, to: str = "me@example.org", options: str = "") -> Channel:
    return Channel("mail", mail.address(to, options), limit_per_hour=10_000)


def hook_channel(hook: WebHook, options: str = f"?{TIMEOUTS}") -> Channel:
    return Channel("hook", hook.address(options), limit_per_hour=10_000)


# Everything together

MAIL: dict[str, Callable[[MailServer], None]] = {
    "well": lambda _mail: None,
    "greylists": lambda mail: mail.refuse.update({"a@example.org": "451 4.7.1 try later"}),
    "refuses one": lambda mail: mail.refuse.update({"b@example.org": "550 5.1.1 nobody here"}),
    "refuses all": lambda mail: mail.refuse.update({"a@example.org": "550 no", "b@example.org": "550 no"}),
    "refuses the sender": lambda mail: mail.refuse.update({"MAIL": "530 5.7.0 log in"}),
    "refuses the data": lambda mail: mail.refuse.update({"DATA": "452 4.3.1 no space"}),
    "drops at the end": lambda mail: mail.refuse.update({"QUIT": "421 gone"}),
    "slow": lambda mail: setattr(mail, "delay_seconds", 0.3),
    "too slow": lambda mail: setattr(mail, "delay_seconds", 5.0),
}
HOOK: dict[str, Callable[[WebHook], None]] = {
    "well": lambda _hook: None,
    "500": lambda hook: setattr(hook, "status", 500),
    "429": lambda hook: setattr(hook, "status", 429),
    "302": lambda hook: (setattr(hook, "status", 302), setattr(hook, "location", "/elsewhere"))[0],
    "hangs": lambda hook: setattr(hook, "status", None),
}


@given(
    phases=st.lists(
        st.tuples(st.sampled_from(list(MAIL)), st.sampled_from(list(HOOK)), st.integers(0, 3)), min_size=1, max_size=3
    )
)
@settings(deadline=None, max_examples=8, derandomize=True)
def test_alert_delivery_completeness(phases: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the servers do meanwhile, in the end each recipient has each message, exactly once."""
    mail, hook = MailServer(), WebHook()
    try:
        to = "a@example.org,b@example.org"
        post = Post(tmp_path_factory.mktemp("post"), mail_channel(mail, to, f"&{TIMEOUTS}"), hook_channel(hook))
        titles: list[str] = []
        for number, (mail_does, hook_does, count) in enumerate(phases):
            MAIL[mail_does](mail)
            HOOK[hook_does](hook)
            fresh = [f"message {number} {index}" for index in range(count)]
            post.put(*fresh)
            titles += fresh
            post.attempt()
            post.later()
            mail.refuse, mail.delay_seconds, hook.status, hook.location = {}, 0.0, 200, ""
        post.drain()
        taken = Counter((to, subject) for subject, names in zip(mail.subjects(), mail.recipients, strict=True) for to in names)
        assert taken == Counter((f"{name}@example.org", title) for title in titles for name in "ab")
        assert Counter(hook.titles()) == Counter(titles)
        assert {state for state, _reason in post.states().values()} <= {"delivered"}
    finally:
        mail.close()
        hook.close()


@pytest.mark.parametrize("kills_children", [False, True])
def test_nothing_is_lost_when_the_alerter_is_killed_again_and_again(tmp_path: Path, kills_children: bool) -> None:
    mail, hook = MailServer(), WebHook()
    mail.delay_seconds = 0.02
    with box_in(tmp_path) as box:
        try:
            box.configure(f'[notify.mail]\naddress = "{mail.address()}"\n[notify.hook]\naddress = "{hook.address()}"\n')
            titles = [f"message {number}" for number in range(15)]
            for start in range(5):
                for title in titles[start * 3 : start * 3 + 3]:
                    notify.submit(Message(title, "text"), box.spool)
                before = len(mail.mails)
                box.start()
                # In the middle of a delivery, before its start, or at its end.
                wait_for(lambda before=before, start=start: len(mail.mails) >= before + start or not box.state()["waiting"])  # type: ignore[misc]
                orphans = children_of(box)
                box.kill()
                for orphan in orphans if kills_children else []:
                    os.kill(orphan, signal.SIGKILL)
            box.start()
            wait_for(lambda: box.state()["waiting"] == 0 and not list(box.spool.iterdir()), "all deliveries")
        finally:
            mail.close()
            hook.close()
    identities = [re.search(r"Message-ID: (\S+)", text)[1] for text in mail.mails]  # type: ignore[index]
    assert set(mail.subjects()) == set(titles) == set(hook.titles())
    # A duplicate mail, from a child killed between the server's reply and the receipt, has the same Message-ID.
    assert len(set(identities)) == len(titles)
    if not kills_children:
        assert Counter(mail.subjects()) == Counter(titles) == Counter(hook.titles())


def children_of(box: Box) -> list[int]:
    assert box.process
    try:
        return [int(pid) for pid in Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


# Each behaviour


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("greylists", "the mail server says 451 4.7.1 try later"),
        ("refuses all", "the mail server says 550 no"),
        ("refuses the sender", "530 5.7.0 log in"),
        ("refuses the data", "452 4.3.1 no space"),
        ("too slow", "no answer in time"),
    ],
)
def test_a_failure_is_reported_in_words_and_waits(tmp_path: Path, mail: MailServer, does: str, says: str) -> None:
    post = Post(tmp_path, mail_channel(mail, "a@example.org,b@example.org", f"&{TIMEOUTS}"))
    MAIL[does](mail)
    post.put("one")
    post.attempt()
    state, reason = post.states()["one mail"]
    assert state == "waiting"
    assert says in reason
    row = post.database.execute("SELECT attempts, due_at FROM deliveries").fetchone()
    assert row["attempts"] == 1
    assert 0.9 * outbox.BACK_OFF_SECONDS[0] <= row["due_at"] - NOW <= 1.1 * outbox.BACK_OFF_SECONDS[0]


@pytest.mark.parametrize(("does", "says"), [("500", "500"), ("302", "302"), ("hangs", "")])
def test_a_web_hook_that_fails_is_tried_again(tmp_path: Path, hook: WebHook, does: str, says: str) -> None:
    post = Post(tmp_path, hook_channel(hook))
    HOOK[does](hook)
    post.put("one")
    post.attempt()
    state, reason = post.states()["one hook"]
    assert (state, says in reason, hook.tries) == ("waiting", True, 1)


def test_a_redirect_that_keeps_the_message_is_followed(tmp_path: Path, hook: WebHook) -> None:
    other = WebHook()
    hook.status, hook.location = 307, f"http://127.0.0.1:{other.port}/new"
    post = Post(tmp_path, hook_channel(hook))
    post.put("one")
    post.attempt()
    assert other.titles() == ["one"]
    assert post.states()["one hook"][0] == "delivered"
    other.close()


def test_a_server_that_is_not_there_holds_back_the_rest_of_the_batch(tmp_path: Path, mail: MailServer) -> None:
    mail.close()
    post = Post(tmp_path, mail_channel(mail))
    post.put("one", "two", "three")
    post.attempt()
    assert [reason != "" for _state, reason in post.states().values()] == [True, False, False]
    assert post.database.execute("SELECT count(*) FROM deliveries WHERE due_at > ?", [NOW + 5]).fetchone()[0] == 3


def test_a_message_that_is_refused_does_not_hold_back_others(tmp_path: Path, mail: MailServer) -> None:
    post = Post(tmp_path, dataclasses.replace(mail_channel(mail), address=mail.address("a@example.org,b@example.org")))
    mail.refuse["b@example.org"] = "550 nobody"
    post.put("one", "two")
    post.attempt()
    assert mail.recipients == [["a@example.org"], ["a@example.org"]]


def test_who_has_a_mail_does_not_get_it_again_however_often_it_is_tried(tmp_path: Path, mail: MailServer) -> None:
    post = Post(tmp_path, mail_channel(mail, "a@example.org,b@example.org,c@example.org"))
    mail.refuse.update({"b@example.org": "450 later", "c@example.org": "450 later"})
    post.put("one")
    post.attempt()
    for refused in ("c@example.org", "c@example.org", ""):
        mail.refuse = {refused: "450 later"}
        post.later()
        post.attempt()
    assert mail.recipients == [["a@example.org"], ["b@example.org"], ["c@example.org"]]


def test_a_delivery_that_hangs_beyond_all_timeouts_is_ended(tmp_path: Path, hook: WebHook) -> None:
    hook.status = None
    post = Post(tmp_path, hook_channel(hook, "?rto=600"))
    post.put("one")
    post.deliverer.one_pass(post.now, 0.0)
    wait_for(lambda: hook.tries == 1)
    post.deliverer.one_pass(post.now, 1000.0)
    wait_for(post._is_idle)
    assert post.states()["one hook"] == ("waiting", "no answer in time")


def test_a_connection_cut_before_the_answer_brings_the_same_mail_again(tmp_path: Path, mail: MailServer) -> None:
    """Unavoidable: nobody knows whether the server accepted it."""
    mail.cuts_after_data = True
    post = Post(tmp_path, mail_channel(mail))
    post.put("one")
    post.attempt()
    mail.cuts_after_data = False
    post.later()
    post.attempt()
    first, second = (email.message_from_string(text)["Message-ID"] for text in mail.mails)
    assert first == second


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one, with its key."""
    file, key = (tmp_path_factory.mktemp("tls") / name for name in ("both.pem", "key.pem"))
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=mail"]
    subprocess.run(["openssl", "req", "-x509", *options, "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


@pytest.mark.parametrize("mode", ["ssl", "starttls"])
def test_a_password_goes_over_tls_to_a_server_that_is_who_it_says(tmp_path: Path, certificate: Path, mode: str) -> None:
    server = MailServer(certificate, is_tls_from_the_start=mode == "ssl")
    address = f"mailtos://anna:gehe%40im@127.0.0.1:{server.port}?from=tv@example.org&to=me@example.org&mode={mode}"
    strict, lenient = Channel("strict", address), Channel("lenient", f"{address}&verify=no")
    post = Post(tmp_path, strict, lenient)
    post.put("one")
    post.attempt()
    state, reason = post.states()["one strict"]
    assert state == "waiting"
    assert "certificate" in reason.lower()
    assert post.states()["one lenient"] == ("delivered", "")
    assert (server.was_encrypted, server.logins) == ([True], ["\0anna\0gehe@im"])
    server.close()


def test_a_mail_has_text_html_and_attachments(tmp_path: Path, mail: MailServer) -> None:
    post = Post(tmp_path, mail_channel(mail, options="&cc=boss@example.org&+X-Room=foyer"))
    pdf = Attachment("Woche 48 – Bericht.pdf", "application/pdf", bytes(range(256)) * 300)
    post.put("Übersicht – 48 %", kind="report", attachments=(pdf,))
    post.attempt()
    result = email.message_from_string(mail.mails[0], policy=email.policy.default)
    assert (result["Subject"], result["To"], result["Cc"]) == ("Übersicht – 48 %", "me@example.org", "boss@example.org")
    headers = (result["From"], result["X-Room"], result["Auto-Submitted"])
    assert headers == ("livekeep <tv@example.org>", "foyer", "auto-generated")
    assert result.get_body(("plain",)).get_content().strip() == "Übersicht – 48 %"  # type: ignore[union-attr]
    assert result.get_body(("html",)).get_content().strip() == "<p>Übersicht – 48 %</p>"  # type: ignore[union-attr]
    (attached,) = result.iter_attachments()  # type: ignore[attr-defined]
    assert (attached.get_filename(), attached.get_content()) == (pdf.name, pdf.content)
    assert mail.recipients == [["me@example.org", "boss@example.org"]]
    # They are deleted once everybody has them.
    store.tidy(post.database, post.now)
    assert post.database.execute("SELECT count(*) FROM attachments").fetchone()[0] == 0


def test_a_web_hook_gets_attachments(tmp_path: Path, hook: WebHook) -> None:
    post = Post(tmp_path, hook_channel(hook))
    post.put("report", kind="report", attachments=(Attachment("a.pdf", "application/pdf", b"%PDF"),))
    post.attempt()
    assert [it["filename"] for it in hook.taken[0]["attachments"]] == ["a.pdf"]


def test_a_file_gets_each_message_once(tmp_path: Path) -> None:
    target = tmp_path / "alerts.log"
    post = Post(tmp_path, Channel("log", file=str(target), limit_per_hour=1000))
    post.put("one", "two")
    post.attempt()
    # As after a kill between the receipt and its commit.
    post.database.execute("UPDATE deliveries SET state = 'waiting'")
    post.attempt()
    assert re.findall(r"^(one|two) \[", target.read_text(), re.M) == ["one", "two"]


def test_a_limit_holds_messages_back_and_one_tells_of_them(tmp_path: Path) -> None:
    target = tmp_path / "alerts.log"
    post = Post(tmp_path, Channel("log", file=str(target), limit_per_hour=3))
    post.put(*[f"message {number}" for number in range(9)])
    post.put("test", kind="test", channels=("log",))
    post.attempt()
    assert re.findall(r"^(.*) \[[0-9a-f]{32}\]$", target.read_text(), re.M) == ["message 0", "message 1", "message 2", "test"]
    post.later(3601)
    post.attempt()
    text = target.read_text()
    assert text.count("6 messages were held back") == 1
    assert all(f"- message {number}" in text for number in range(3, 9))
    post.drain()


@pytest.mark.parametrize(
    "address",
    [
        "json://anna:s3cretword@127.0.0.1:{port}/t0kenpath?rto=1",
        "mailto://anna:s3cretword@127.0.0.1:{port}?from=tv@example.org&to=me@example.org&rto=1",
        "nosuch://t0kenpath",
    ],
)
def test_a_reason_holds_no_secret(tmp_path: Path, mail: MailServer, hook: WebHook, address: str) -> None:
    mail.refuse.update({"AUTH": "535 no s3cretword", "MAIL": "530 anna s3cretword t0kenpath"})
    hook.status = 500
    port = mail.port if address.startswith("mail") else hook.port
    post = Post(tmp_path, Channel("x", address.format(port=port)))
    post.put("one")
    post.attempt()
    state, reason = post.states()["one x"]
    assert (state, reason != "") == ("waiting", True)
    assert not re.search("s3cretword|t0kenpath", reason)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("mailtos://u:p@gmail.com?to=me@example.org", "smtp.gmail.com", 587),
        (
            "mailtos://u:p@example.org?smtp=mail.example.org&from=t@example.org&to=me@example.org&mode=ssl",
            "mail.example.org",
            465,
        ),
        ("mailtos://u:p@example.org:2525?from=t@example.org&to=me@example.org&mode=ssl", "example.org", 2525),
        ("mailto://mail.example.org?from=t@example.org&to=me@example.org", "mail.example.org", 25),
    ],
)
def test_the_server_and_port_of_an_address(address: str, host: str, port: int) -> None:
    service = delivery.service_of(address)
    assert (service.smtp_host, service.port) == (host, port)


def test_pieces_of_an_address_that_may_be_secret() -> None:
    result = delivery.secrets_of("tgram://12345:A%2FBC/chat?to=me%40x.org&format=text")
    assert {"A/BC", "chat", "me@x.org", "12345:A%2FBC"} & set(result) >= {"chat", "me@x.org"}
