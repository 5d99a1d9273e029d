"""A program as a child: what it is given, what is kept of what it prints, and how it is ended."""

import os
import sys
import time

import pytest

from livekeep.system import process
from livekeep.system.background import CalledOffError
from tests.outside import PATIENCE_SECONDS


def run(script: str, seconds: float = PATIENCE_SECONDS, **more: object) -> process.Ended:
    return process.run([sys.executable, "-c", script], seconds, process.environment(), **more)  # type: ignore[arg-type]


def test_a_program_is_given_its_input_and_ends_with_its_code() -> None:
    ended = run("import sys; print(sys.stdin.read().upper()); sys.exit(3)", text="héllo")
    assert ended == process.Ended(3, "HÉLLO\n".encode())
    assert ended.text() == "HÉLLO\n"


def test_its_errors_are_kept_where_they_are_wanted_and_only_their_beginning() -> None:
    script = f"import sys; sys.stderr.write('x' * {2 * process.LARGEST_ERRORS_BYTES}); print('done')"
    assert run(script) == process.Ended(0, b"done\n")
    assert run(script, with_errors=True) == process.Ended(0, b"done\n", b"x" * process.LARGEST_ERRORS_BYTES)


def test_it_knows_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    ended = run("import os; print(sorted(name for name in os.environ if name != 'LC_CTYPE'))")
    assert ended.text() == "['LC_ALL', 'PATH']\n"
    assert process.environment("http://proxy.example:3128")["https_proxy"] == "http://proxy.example:3128"


def test_one_that_reads_nothing_and_hangs_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(process.TooSlowError, match=r"did not end within 0.3 s and was killed"):
        run("import time; time.sleep(600)", 0.3, text="x" * process.LARGEST_INPUT_BYTES)
    assert time.monotonic() - began < 60


def test_one_that_closes_its_output_and_hangs_is_killed() -> None:
    with pytest.raises(process.TooSlowError, match="was killed"):
        run("import os, time; os.close(1); time.sleep(600)", 0.5)


def test_what_it_started_is_killed_with_it() -> None:
    reading, writing = os.pipe()
    script = "import subprocess, time; subprocess.Popen(['sleep', '600'], close_fds=False); time.sleep(600)"
    with pytest.raises(process.TooSlowError):
        run(script, 1.0, pass_fds=(writing,))
    os.close(writing)
    assert os.read(reading, 1) == b"", "nobody has the pipe open any more"
    os.close(reading)


@pytest.mark.parametrize(("more", "kib"), [({}, 1024), ({"most_output_bytes": 2048}, 2)])
def test_one_that_does_not_stop_printing_is_killed(more: dict[str, int], kib: int) -> None:
    with pytest.raises(process.ChildError, match=f"prints more than {kib} KiB"):
        run("while True: print('x' * 10000)", **more)


def test_one_is_called_off_while_it_prints() -> None:
    with pytest.raises(CalledOffError, match="the stream is live"):
        run("import time\nwhile True: print('x', flush=True); time.sleep(0.1)", reason_to_stop=lambda: "the stream is live")


def test_what_cannot_be_started_or_given() -> None:
    with pytest.raises(process.NotStartedError, match=r"tool cannot be started \(No such file"):
        process.run(["/nowhere/tool"], 1, {})
    with pytest.raises(process.ChildError, match="is not given more than 32 KiB"):
        run("", text="x" * (process.LARGEST_INPUT_BYTES + 1))


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("", ""),
        ("http://proxy.example:3128", ""),
        ("http://anna:geheim@proxy.example:3128", "password"),
        ("https://proxy.example", "does not begin"),
    ],
)
def test_which_proxy_a_program_may_be_given(proxy: str, words: str) -> None:
    assert words in process.proxy_problem(proxy)
    assert bool(words) == bool(process.proxy_problem(proxy))
