"""The demo behind bin/livekeep-demo --record: jobs run, one fails, one gets slow, the screen goes dark, and people are reported.

Boots a Debian, installs livekeep with screen and record, gives the record five made weeks and the clip analyzer made clips,
and lets a mail server in the machine's network take what is sent. Chromium looks at the pages; all of it stays in the folder.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tests.machine import root
from tests.machine.demo import run
from tests.machine.machine import MachineError
from tests.machine.mailbox import text_of
from tests.machine.record_room import PAGES, RECORDER, RecordRoom
from tests.machine.room import Settings, fetch
from tests.machine.screen import DISPLAY

T = TypeVar("T")

PATIENCE_SECONDS = 90.0
CLIPS_PORT = 8099
RECORD = "/var/lib/livekeep/record"
SIZES = {"wide": (1280, 900), "phone": (360, 780)}
# The first one last: the screenshot is taken while somebody reads.
PAGES_SHOWN = ("/jobs", "/functions?range=30d", "/compare?range=7d", "/events", "/alerts", "/boxes", "/clips", "/reports", "/")
CLIPS = "livekeep-clips.service"
# In the machine: five weeks of jobs that end with the last whole week, as the journal would have reported them.
FILL = """
import socket, sqlite3, sys
from datetime import date
from pathlib import Path
sys.path[:0] = ["/src/lib", "/src/tests/record"]
from made_week import fill
fill(Path(sys.argv[1]), 5, date.fromisoformat(sys.argv[2]), hostile=False)
# The recorder begins where its own journal begins.
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("DELETE FROM positions")
    machine = Path("/etc/machine-id").read_text().strip(), socket.gethostname()
    connection.execute("UPDATE machines SET machine_id = ?, hostname = ?", machine)
"""


class DemoRoom(RecordRoom):
    """A room whose screen plays a plain URL, because the analyzer's Vimeo is a different one."""

    def settings(self) -> Settings:
        wanted = super().settings()
        wanted["vimeo"] = {"api_url": f"http://127.0.0.1:{CLIPS_PORT}"}
        wanted["streams.main"] = {"vimeo_event": "", "url": self.live.url}
        # Names cannot be resolved there.
        wanted["probes.network"] = {"enabled": False}
        wanted["clips.made"] = {"vimeo": "users/1"}
        return wanted


@dataclass
class Story:
    """The events, reported as they happen, and the pictures."""

    room: DemoRoom
    folder: Path
    began: float = field(default_factory=time.monotonic)
    pictures: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def until(self, what: str, holds: Callable[[], T]) -> T:
        return self.room.until(what, holds, PATIENCE_SECONDS)

    def mail(self, what: str, fits: Callable[[EmailMessage], bool]) -> EmailMessage:
        """Wait for a mail, and keep it."""
        result = self.room.mailbox.waits_for(what, fits, PATIENCE_SECONDS)
        name = f"mail-{what.replace(' ', '-')}"
        (self.folder / f"{name}.eml").write_bytes(result.as_bytes())
        self.tell(f"mail: {result['Subject']}")
        return result

    def visit(self, name: str, path: str, size: str = "wide") -> Path:
        """A page as Chromium shows it."""
        target = self.folder / f"{name}-{size}.png"
        photograph(self.room, f"{PAGES}{path}", target, SIZES[size])
        self.pictures.append(target.name)
        return target


def photograph(room: RecordRoom, address: str, target: Path, size: tuple[int, int]) -> None:
    """Take a picture of an address with the host's Chromium, in the machine's network."""
    with TemporaryDirectory() as profile:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--force-device-scale-factor=1"]
        command += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=4000"]
        command += [f"--screenshot={target}", address]
        # Its first start may hang on a busy machine.
        for _attempt in range(2):
            subprocess.run(room.network.in_machine(command), check=False, capture_output=True, timeout=PATIENCE_SECONDS)
            if target.exists():
                return
    raise MachineError(f"Chromium made no picture of {address}")


def about(*words: str) -> Callable[[EmailMessage], bool]:
    return lambda message: all(word in f"{message['Subject']}\n{text_of(message)}" for word in words)


# The scenes


def past(story: Story) -> None:
    """Five weeks of a box's history, in which an analysis gets slower in the last week, and two days of clips."""
    machine = story.room.machine
    monday = last_monday()
    machine.systemctl("stop", RECORDER)
    machine.run(f"rm -f {RECORD}/record.db*")
    machine.run(["python3", "-c", FILL, f"{RECORD}/record.db", monday.isoformat()], timeout=120)
    machine.run(f"chown livekeep-recorder:livekeep {RECORD}/record.db*")
    machine.systemctl("start", RECORDER)
    machine.run(["python3", "/src/tests/record/made_clips.py", "history"], timeout=120)
    serve = ["systemd-run", "--quiet", "--unit=made-clips", "python3", "/src/tests/record/made_clips.py", "serve"]
    machine.run([*serve, f"--port={CLIPS_PORT}"])
    story.tell(f"the record has five made weeks, up to {monday + timedelta(6)}; the clips have two days")


def address(story: Story) -> None:
    """The address, which is all that mails need."""
    machine = story.room.machine
    machine.run(["livekeep", "alert", "set-address", "me"], input=f"{story.room.mailbox.url}\n")
    story.tell(machine.run(["livekeep", "alert", "test", "me"]).stdout.strip())


def analyze(story: Story) -> float:
    """One run of the analyzer; return how long it took."""
    began = time.monotonic()
    story.room.machine.systemctl("start", CLIPS, check=False)
    return time.monotonic() - began


def fault(story: Story, **kind: Any) -> None:
    fetch(story.room.machine, f"http://127.0.0.1:{CLIPS_PORT}/fault", "PUT", body=json.dumps(kind))


def analyzer_works(story: Story) -> None:
    """Three clips take off; then the server is slow, and then it fails."""
    usual = [analyze(story) for _run in range(4)]
    state = story.until("clips take off", lambda: (it := story.room.part_state("clips")).get("hot") and it)
    for clip in state["hot"][:3]:
        story.tell(f"takes off: {clip['name']}, {clip['reason']}")
    fault(story, delay_seconds=1.5)
    slow = analyze(story)
    story.tell(f"the server takes 1.5 s for each answer: a run takes {slow:.1f} s instead of {sorted(usual)[1]:.1f} s")
    fault(story, status=500)
    analyze(story)
    story.tell(f'the server fails: the run says "{story.room.part_state("clips")["reason"]}"')
    fault(story)
    story.mail("a clip takes off", about("takes off"))
    story.mail("clips cannot be fetched", about("500"))


def job_fails(story: Story) -> None:
    story.room.run_job("--clips", "3", "--fail")
    story.mail("a job failed", about("clip analysis", "ValueError"))


def screen_goes_dark(story: Story) -> None:
    """By default, the mail comes after five minutes."""
    room = story.room
    room.machine.systemctl("stop", DISPLAY)
    at = time.monotonic()
    mail = story.mail("the screen is dark", about("down", "display"))
    story.tell(f"… {time.monotonic() - at:.0f} s after its end, with for_seconds = 5 instead of 300. It says:")
    print("".join(f"          | {line}\n" for line in text_of(mail).split("<")[0].strip().splitlines()))
    html = next((part for part in mail.walk() if part.get_content_type() == "text/html"), None)
    if html is not None:
        page = story.folder / "mail.html"
        page.write_text(str(html.get_content()), encoding="utf-8")
        photograph(room, f"file://{page}", story.folder / "mail.png", (720, 900))
    story.visit("dark", "/", "phone")
    room.machine.systemctl("start", DISPLAY)
    story.mail("it is over", lambda message: "over after" in str(message["Subject"]))


def pages(story: Story) -> None:
    """While a job runs."""
    room = story.room
    room.moves(PATIENCE_SECONDS)
    command = ["systemd-run", "--quiet", "--collect", "--unit=long-job", "--uid=worker", "python3", "/srv/job.py"]
    room.machine.run([*command, "--clips", "40", "--seconds", "3"])
    story.until("it is recorded", lambda: room.query("SELECT 1 FROM sessions WHERE outcome = 'running'"))
    for size in SIZES:
        for path in PAGES_SHOWN:
            name = path.partition("?")[0].strip("/") or "now"
            if room.page(path)[0] == 200:
                story.visit(name, path, size)
                # The newest screenshot: reading the page triggers one.
                if path == "/":
                    story.until("the picture is new", lambda: is_new(room))
                    story.visit(name, path, size)
    number = room.query("SELECT id FROM sessions WHERE outcome = 'failed' ORDER BY id DESC LIMIT 1")[0][0]
    for size in SIZES:
        story.visit("session", f"/jobs/{number}", size)
    room.machine.systemctl("stop", "long-job", check=False)
    story.tell(f"{len(story.pictures)} pictures of pages, at {' and '.join(f'{size[0]} pixels' for size in SIZES.values())}")


def is_new(room: DemoRoom) -> bool:
    """Whether the screenshot was taken within the last seconds."""
    script = 'test "$(($(date +%s) - $(stat -c %Y /run/livekeep/screen-picture/screen.png)))" -lt 15'
    return room.machine.run(script, check=False).returncode == 0


def report(story: Story) -> None:
    """The last whole week as PDF, and its first pages as pictures."""
    monday = last_monday()
    command = ["livekeep", "report", "--from", monday.isoformat(), "--to", (monday + timedelta(6)).isoformat()]
    story.room.machine.run([*command, "--output", "/root/report.pdf"], timeout=120)
    raw = story.room.machine.run("base64 /root/report.pdf").stdout
    pdf = story.folder / "report.pdf"
    pdf.write_bytes(base64.b64decode(raw))
    subprocess.run(["pdftoppm", "-png", "-r", "70", "-l", "3", str(pdf), str(story.folder / "report")], check=True)
    story.tell(f"report.pdf: {pdf.stat().st_size / 1000:.0f} kB")


def command_line(story: Story) -> None:
    for words in (["record", "sessions"], ["record", "functions"], ["clips"], ["alert", "list"], ["status"]):
        reported = story.room.livekeep(*words)
        (story.folder / f"{'-'.join(words)}.txt").write_text(reported, encoding="utf-8")
        print(f"\n$ livekeep {' '.join(words)}\n" + "\n".join(reported.splitlines()[:14]))


def last_monday() -> date:
    """The first day of the last whole week."""
    today = datetime.now().astimezone().date()
    return today - timedelta(today.weekday() + 7)


def show(suite: root.Suite, folder: Path) -> None:
    print(f"Booting a Debian {suite} with a TV and a mail server beside it (built first: 1 to 3 min) …")
    with DemoRoom(suite) as room:
        story = Story(room, folder)
        story.tell("installed: livekeep with screen and record")
        for scene in (past, address, job_fails, analyzer_works, screen_goes_dark, pages, report, command_line):
            scene(story)
        (folder / "journal.txt").write_text(room.machine.journal(None, "--unit=livekeep-*"), encoding="utf-8")
        print(f"\nPictures, mails, report and journal lie in {folder}.")


if __name__ == "__main__":
    sys.exit(run("livekeep-demo --record", __doc__, show))
