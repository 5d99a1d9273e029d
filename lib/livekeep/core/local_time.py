"""Local time for people, in the zone that is set now: a program that runs for months outlives a `timedatectl set-timezone`."""

import time


def local_time(moment: float) -> time.struct_time:
    """`moment` (Unix seconds) in the machine's zone as of this call. Raises `ValueError`, `OverflowError` or `OSError` like
    `time.localtime` for a moment beyond the calendar.
    """
    # The C library reads the zone once, unless it is asked to look for a change; that costs one stat().
    time.tzset()
    return time.localtime(moment)
