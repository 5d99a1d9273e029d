"""livekeep select: lists, refuses, and changes exactly one value in the right file."""

import tomllib

import pytest

from livekeep.command.config.select import with_selection
from tests.command.box import CONFIG, Box

SECOND = "Youth, 2nd hall"


def test_lists_the_streams_and_marks_the_selected_one(box: Box) -> None:
    box.configure()
    done = box.run("select")
    assert done.returncode == 0
    assert done.stdout == f"  {SECOND}  https://media.example/live.m3u8\n* main             Vimeo event 123\n"
    assert box.run("select", "--names").stdout == f"{SECOND}\nmain\n"


def test_writes_where_it_is_set_and_has_the_poller_reload(box: Box) -> None:
    config = box.configure()
    config.chmod(0o640)
    inode = config.stat().st_ino
    box.start_units()
    done = box.run("select", SECOND)
    assert done.returncode == 0, done.stderr
    assert config.read_text() == CONFIG.replace('selected = "main" #', f'selected = "{SECOND}" #')
    assert config.stat().st_mode & 0o777 == 0o640
    assert config.stat().st_ino != inode, "replaced as a whole, not written over"
    assert sorted(path.name for path in config.parent.iterdir()) == ["livekeep.d", "livekeep.toml"]
    assert box.told() == ["reload livekeep-poller.service"]


def test_the_last_file_that_sets_it_is_the_one_that_is_changed(box: Box) -> None:
    config = box.configure()
    other = box.file("etc/livekeep/livekeep.d/10-streams.toml", "[poller]\ninterval_seconds = 20\n")
    last = box.file("etc/livekeep/livekeep.d/20-imported.toml", f'stream.selected = "{SECOND}"\n')
    done = box.run("select", "main")
    assert done.returncode == 0
    assert last.read_text() == 'stream.selected = "main"\n'
    assert (config.read_text(), other.read_text()) == (CONFIG, "[poller]\ninterval_seconds = 20\n")


def test_a_poller_that_does_not_run_is_said_and_no_failure(box: Box) -> None:
    box.configure()
    box.unit("livekeep-poller.service", "inactive", "dead")
    done = box.run("select", SECOND)
    assert done.returncode == 0
    assert "livekeep-poller does not run; it uses this when it starts" in done.stdout
    assert box.told() == []


def test_a_reload_that_is_refused_is_a_failure(box: Box) -> None:
    box.configure()
    box.start_units()
    (box.systemd / "fail-reload").write_text("Job for livekeep-poller.service failed.\nSee more.\n")
    done = box.run("select", SECOND)
    assert done.returncode == 1
    assert done.stderr == "systemctl reload livekeep-poller.service: Job for livekeep-poller.service failed.\n"


def test_an_unknown_name_changes_nothing(box: Box) -> None:
    config = box.configure()
    done = box.run("select", "mian")
    assert done.returncode == 1
    assert done.stderr == f'there is no stream "mian"; the configured ones are "{SECOND}", "main"\n'
    assert config.read_text() == CONFIG


def test_a_wrong_selection_can_be_corrected(box: Box) -> None:
    config = box.configure(CONFIG.replace('"main" #', '"gone" #'))
    assert box.run("select", "main").returncode == 0
    assert config.read_text() == CONFIG


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[poller]\ntimeout_seconds = 0\n", "poller.timeout_seconds: must be from 0.5 to 60, is 0"),
        ("[stream\n", "is not valid TOML"),
    ],
)
def test_with_another_fault_the_poller_is_left_alone(box: Box, text: str, problem: str) -> None:
    """And the faulty file is named, and not touched."""
    config = box.configure()
    faulty = box.file("etc/livekeep/livekeep.d/20-faulty.toml", text)
    box.start_units()
    done = box.run("select", SECOND)
    assert done.returncode == 78
    assert f"{faulty}: {problem}" in done.stderr
    assert config.read_text() == CONFIG.replace('selected = "main" #', f'selected = "{SECOND}" #')
    assert faulty.read_text() == text
    assert box.told() == []


def test_no_streams_at_all(box: Box) -> None:
    box.configure("")
    assert "No streams are configured" in box.run("select").stdout
    assert box.run("select", "main").stderr == 'there is no stream "main"; the configured ones are none yet\n'


def test_what_is_no_table_is_left_to_the_administrator(box: Box) -> None:
    text = 'stream = "main"\n[streams.main]\nvimeo_event = "1"\n'
    config = box.configure(text)
    done = box.run("select", "main")
    assert done.returncode == 1
    assert done.stderr == f'{config}: stream.selected cannot be changed automatically; set it to "main" by hand\n'
    assert config.read_text() == text


EDITS = [
    ('[stream]\nselected = "a"\n', '[stream]\nselected = "b"\n'),
    ("[stream]\n  selected='a'   # why\n", '[stream]\n  selected="b"   # why\n'),
    ('stream = { selected = "a" }\n', 'stream = { selected = "b" }\n'),
    ('"stream"."selected" = "a"\n', '"stream"."selected" = "b"\n'),
    ('# selected = "a"\n[stream]\nselected = "a"\n', '# selected = "a"\n[stream]\nselected = "b"\n'),
    (
        '[streams.x]\nurl = "selected = \\"a\\""\n[stream]\nselected = "a"',
        '[streams.x]\nurl = "selected = \\"a\\""\n[stream]\nselected = "b"\n',
    ),
    ('[screen]\nselected = "a"\n[stream]\nselected = "a"\n', '[screen]\nselected = "a"\n[stream]\nselected = "b"\n'),
    ("[stream]\nselected = 5\n", '[stream]\nselected = "b"\n'),
    ("[stream] # which\n[log]\n", '[stream] # which\nselected = "b"\n[log]\n'),
    ("", '[stream]\nselected = "b"\n'),
    ('[stream]\nselected = """\na"""\n', '[stream]\nselected = "b"\n'),
    ('stream.selected = "a"\r\n[log]\r\n', 'stream.selected = "b"\r\n[log]\r\n'),
    ('[log]\nlevel = "info"', '[log]\nlevel = "info"\n\n[stream]\nselected = "b"\n'),
]


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_edits(before: str, after: str) -> None:
    assert with_selection(before, "b") == after


@pytest.mark.parametrize("name", ['with "quotes"', "back\\slash", "Grüße", "tab\t", "#"])
def test_any_name_survives(name: str) -> None:
    text = with_selection('[stream]\nselected = "a" # x\n', name)
    assert text is not None
    assert tomllib.loads(text) == {"stream": {"selected": name}}
    assert text.endswith(" # x\n")
