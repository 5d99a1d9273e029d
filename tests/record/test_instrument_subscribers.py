"""The job's functions that are called for records: they get everything, and a slow one delays nothing."""

import re
import time

import pytest

from tests.outside import PATIENCE_SECONDS
from tests.record.journal_socket import JournalSocket, assert_complete, names_of, ran


def test_subscribers_get_everything_and_disturb_nobody() -> None:
    done, _entries = ran(
        """
        from livekeep.record import flush, monitor_execution, session, subscribe
        @monitor_execution
        def work(clip): return clip
        heard = []
        def hears(notification):
            work(0)
            heard.append((notification.what, notification.name, notification.outcome))
            raise ValueError("mine")
        stop = subscribe(hears)
        with session("clips", total=1) as run:
            work(17)
            run.advance()
        flush(); stop(); work(18); flush()
        print([one for one in heard if one[1] != "job.work"], sum(one[1] == "job.work" for one in heard) >= 1)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "('session', 'clips', 'running')" in done.stdout
    assert "('session', 'clips', 'succeeded')" in done.stdout
    assert done.stdout.strip().endswith("True")
    assert done.stderr == "livekeep: a subscriber failed: ValueError: mine\n"


SLOW = """
    import sys, threading, time
    from livekeep.record import flush, monitor_execution, subscribe
    @monitor_execution
    def work(clip): return clip
    subscribe(lambda notification: time.sleep(0.01))
"""


@pytest.mark.parametrize(
    "calls",
    [
        # The sender's thread is busy with the subscriber when the process ends.
        "threading.Thread(target=lambda: [work(clip) for clip in range(10**9)], daemon=True).start(); time.sleep(1)",
        # Everything is left for the end.
        "sender.is_halted = True; [work(clip) for clip in range(MOST_TAKEN)]",
    ],
)
def test_a_slow_subscriber_does_not_hold_up_the_exit(calls: str) -> None:
    with JournalSocket() as journal:
        done = journal.run(
            SLOW
            + f"""
    from livekeep.record.instrument.delivery import MOST_TAKEN, sender
    {calls}
    print(time.monotonic())
"""
        )
        took = time.monotonic() - float(done.stdout)
    assert done.returncode == 0
    assert took < PATIENCE_SECONDS / 2
    assert re.fullmatch(
        r"livekeep: subscribers were too slow: [0-9]+ calls, sessions and steps were not delivered to them\n", done.stderr
    )


def test_a_slow_subscriber_costs_the_record_nothing() -> None:
    """It would take minutes for all of them."""
    with JournalSocket() as journal:
        done = journal.run(
            SLOW
            + """
    for clip in range(20_000):
        work(clip)
        if clip % 5000 == 0: time.sleep(0.1)
"""
        )
    assert done.returncode == 0
    assert "were not delivered" in done.stderr
    assert_complete(journal.entries)
    assert names_of(journal.entries) == {"job.work": 20_000}


def test_what_a_subscriber_cannot_take_in_time_is_left_out_and_counted() -> None:
    with JournalSocket() as journal:
        done = journal.run(
            SLOW
            + """
    from livekeep.record.instrument import subscribers
    subscribers.MOST_WAITING = 5
    for clip in range(30): work(clip)
    flush()
    print(len(subscribers.subscribers.waiting), subscribers.subscribers.left_out)
"""
        )
    assert done.stdout == "0 25\n"
    assert done.stderr == "livekeep: subscribers were too slow: 25 calls, sessions and steps were not delivered to them\n"
    assert names_of(journal.entries) == {"job.work": 30}
