"""Invalid files and responses: one clear line each, and the best possible picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.machine.machine import wait_for
from tests.machine.root import Suite
from tests.machine.screen import PICTURES, PLAYER, POLLER, UNITS, Screen

# The handling of invalid input does not depend on the release.
SUITES: tuple[Suite, ...] = ("trixie",)
OWN_PICTURES = "/var/lib/livekeep/pictures"
POLLER_STATE, PLAYER_STATE = "/run/livekeep/poller/state.json", "/run/livekeep/player/state.json"
# The poller's MemoryMax=, which a container without the memory controller does not enforce.
POLLER_MEGABYTES = 128

BAD_CONFIGURATIONS = {
    "syntax": ("[poller\n", "is not valid TOML"),
    "type": ('[poller]\ninterval_seconds = "ten"\n', 'poller.interval_seconds: must be from 1 to 3600, or "auto"'),
    "range": ("[poller]\ninterval_seconds = 0\n", "poller.interval_seconds: must be from 1 to 3600"),
    "unknown": ("[screen]\ncolour = 1\n", "screen.colour: unknown key"),
    "file URL": ('[streams.main]\nurl = "file:///etc/passwd"\n', "streams.main.url: must be a URL that begins with http://"),
    "exec URL": ('[streams.main]\nurl = "exec://reboot"\n', "streams.main.url: must be a URL that begins with http://"),
    "lavfi URL": ('[streams.main]\nurl = "lavfi://testsrc"\n', "streams.main.url: must be a URL that begins with http://"),
    "not text": ("\x00\x01\x02", "is not valid TOML"),
}
BAD_PICTURES = {
    "missing": "true",
    "no picture": f"head -c 20000 /dev/urandom >{OWN_PICTURES}/bad.png",
    "empty": f": >{OWN_PICTURES}/bad.png",
    "half": f"head -c 30000 {PICTURES}/holding.png >{OWN_PICTURES}/bad.png",
    "unreadable": f"install -m 600 {PICTURES}/holding.png {OWN_PICTURES}/bad.png",
    "a folder": f"mkdir {OWN_PICTURES}/bad.png",
}
NONSENSE = ("big", "redirect_loop", "deep_json", "garbage", "empty", "html200", "hang", "reset", "slow_drip")
BAD_STATES = {
    "empty": "",
    "half": '{"file": "poller/state", "version": 1, "state": "li',
    "foreign": '{"hello": "world"}',
    "deep": "[" * 100_000,
    "another version": '{"file": "poller/state.json", "version": 999}',
}
BAD_TOKENS = {
    "empty": ("", "contains no token"),
    "two words": ("abc def\n", "no spaces or line breaks"),
    "a line of .env": ("VIMEO_TOKEN=abc\n", "looks like a line NAME=TOKEN"),
    "not ASCII": ("tökén\n", "ASCII letters and digits only"),
    "too long": ("a" * 3000, "too many for a token"),
}


@pytest.fixture
def playing(screen: Screen) -> Iterator[Screen]:
    """The room, live; afterwards nothing but the stream was on the TV, from the same processes."""
    screen.goes_live()
    before = [screen.main_pid(unit) for unit in UNITS]
    with screen.watched() as sampler:
        yield screen
        screen.moves()
    assert [label for _, label in screen.spans(sampler)] == ["stream"]
    assert [screen.main_pid(unit) for unit in UNITS] == before


def test_a_bad_configuration_changes_nothing(playing: Screen) -> None:
    """The reload fails and names the file and key; the stream plays on with the old one."""
    bad = "/etc/livekeep/livekeep.d/90-bad.toml"
    try:
        for name, (text, problem) in BAD_CONFIGURATIONS.items():
            playing.machine.write(bad, text)
            for unit in (PLAYER, POLLER):
                assert playing.machine.systemctl("reload", unit, check=False).returncode != 0, name
            assert f"{bad}: {problem}" in playing.livekeep("check-config"), name
            assert f"{bad}: {problem}" in playing.machine.journal(POLLER), name
    finally:
        playing.machine.run(["rm", bad])
    playing.machine.systemctl("reload", PLAYER, POLLER)


@pytest.mark.parametrize("key", ["holding", "error"])
def test_a_bad_picture(screen: Screen, key: str) -> None:
    """The shipped one is used; never black, never a restart."""
    machine, path = screen.machine, f"{OWN_PICTURES}/bad.png"
    before = [screen.main_pid(unit) for unit in UNITS]

    def shows(picture: str, name: str) -> None:
        # Of a truncated picture the display shows what it can.
        any_of = ("holding", "error", "other") if (picture, name) == (key, "half") else (picture,)
        screen.until(f"{picture} is shown, with {name}", lambda: screen.picture() in any_of)

    with screen.watched():
        for name, make in BAD_PICTURES.items():
            machine.run(f"rm -rf {path}; {make}")
            screen.configure({"screen": {key: path}})
            screen.vimeo.fault("401")
            screen.knows(state="error")
            shows("error", name)
            screen.vimeo.ok()
            screen.machine.systemctl("reload", POLLER)
            screen.knows(state="offline")
            shows("holding", name)
        screen.goes_live(90)
        screen.vimeo.go_off()
        screen.shows("holding", 90)
    machine.run(["rm", "-rf", path])
    assert [screen.main_pid(unit) for unit in UNITS] == before


def test_a_bad_state_file(playing: Screen) -> None:
    """Poller and player report it, continue, and overwrite it with a valid one."""
    for text in BAD_STATES.values():
        for path in (POLLER_STATE, PLAYER_STATE):
            # Moved into place, like a writer does.
            playing.machine.run(f"cat >{path}.bad && chmod 644 {path}.bad && mv {path}.bad {path}", input=text)
        playing.livekeep("status")
        playing.until("both states are good", lambda: has_good_states(playing))


def test_a_bad_token_is_not_taken(screen: Screen) -> None:
    """The current one stays in force."""
    before = screen.machine.read("/etc/credstore/livekeep.vimeo-token"), screen.main_pid(POLLER)
    for text, problem in BAD_TOKENS.values():
        screen.machine.write("/root/bad", text, 0o600)
        done = screen.machine.run("livekeep set-token /root/bad", check=False)
        assert done.returncode == 1, problem
        assert problem in done.stderr
        assert not text.strip() or text.strip() not in done.stderr
    assert (screen.machine.read("/etc/credstore/livekeep.vimeo-token"), screen.main_pid(POLLER)) == before


def test_a_token_file_of_rubbish(screen: Screen) -> None:
    """The poller starts, and the TV shows the problem."""
    stored = "/etc/credstore/livekeep.vimeo-token"
    screen.machine.run(f"head -c 5000 /dev/urandom >{stored}; systemctl restart {POLLER}")
    screen.says("token")
    screen.says("livekeep set-token")
    screen.livekeep("set-token", "/root/token")
    screen.knows(state="offline")
    screen.shows("holding")


def test_a_plain_url_that_answers_nonsense(screen: Screen) -> None:
    """Off air or an error, never black, and no memory leak."""
    with screen.watched():
        for fault in NONSENSE:
            screen.vimeo.fault(fault)
            # Another source each time: nothing is known of it before it answers.
            screen.configure({"streams.main": {"vimeo_event": "", "url": f"{screen.vimeo.base_url}/live.m3u8?{fault}"}})
            screen.until(f"{fault} was met", lambda fault=fault: any(it["query"] == fault for it in screen.vimeo.requests()))  # type: ignore[misc]
            screen.until("it is off air or an error", lambda: screen.state("poller").get("state") in ("offline", "error"))
            assert screen.picture() in ("holding", "error"), fault
            assert screen.memory_megabytes(POLLER) < POLLER_MEGABYTES
        screen.configure({"streams.main": {"vimeo_event": "", "url": screen.live.url}})
        screen.moves()


def test_a_configuration_that_cannot_be_read(playing: Screen) -> None:
    """The reload fails with the fix; the stream plays on."""
    config = "/etc/livekeep/livekeep.toml"
    playing.machine.run(["chmod", "600", config])
    try:
        assert playing.machine.systemctl("reload", POLLER, check=False).returncode != 0
        assert f"{config}: cannot be read (Permission denied)" in playing.machine.journal(POLLER)
        playing.moves()
    finally:
        playing.machine.run(["chmod", "640", config])


def test_a_full_run(screen: Screen) -> None:
    """No state can be written: one line says so, no program ends, and everything recovers once there is space."""
    before = [screen.main_pid(unit) for unit in UNITS]
    size = screen.machine.run("findmnt -no OPTIONS /run | grep -o 'size=[^,]*' || echo size=20%").stdout.strip()
    with screen.watched():
        fill_run(screen)
        screen.vimeo.go_live(screen.live.url)
        wait_for(lambda: "No space left on device" in screen.machine.journal(None, "--unit=livekeep*", "--lines=200"), 40, 0.5)
        assert screen.picture() in ("holding", "stream")
        screen.machine.run(f"rm -f /run/filler; mount -o remount,{size} /run")
        screen.moves(60)
    assert [screen.main_pid(unit) for unit in UNITS] == before
    wait_for(lambda: has_good_states(screen), 40, 0.5)


def has_good_states(screen: Screen) -> bool:
    """Whether the command can read the states of poller and player, and both run."""
    found = json.loads(screen.machine.run(["livekeep", "status", "--json"]).stdout)
    return bool(found["poller"] and found["player"]) and found["poller_problem"] == found["player_problem"] == ""


def fill_run(screen: Screen) -> None:
    """Fill /run completely."""
    screen.machine.run("mount -o remount,size=64M /run; dd if=/dev/zero of=/run/filler bs=4k 2>/dev/null", check=False)
    assert screen.machine.run("echo x >/run/more", check=False).returncode != 0


def test_what_is_told_is_one_line(screen: Screen) -> None:
    """A lasting fault is not reported repeatedly."""

    def told(words: str) -> Callable[[], int]:
        return lambda: screen.machine.journal(PLAYER).count(words) + screen.machine.journal(POLLER).count(words)

    count = told("cannot be reached")
    before = count()
    screen.vimeo.fault("reset")
    screen.shows("error")
    screen.keeps("error", 12)
    # The poller's event, and the player's with the reason.
    assert 1 <= count() - before <= 3
