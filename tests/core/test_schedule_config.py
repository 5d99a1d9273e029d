"""The tables [schedule] and [tv]: which keys and values are accepted, and which key applies to a day."""

import datetime
import json
from pathlib import Path

import pytest

from livekeep.core.config import Config, load, load_leniently
from livekeep.core.config.schedule import Schedule, seconds_of, spans_of
from livekeep.core.errors import ConfigError


def load_text(tmp_path: Path, text: str, **drop_ins: str) -> Config:
    folder = tmp_path / "livekeep.d"
    folder.mkdir(exist_ok=True)
    (tmp_path / "livekeep.toml").write_text(text)
    for name, content in drop_ins.items():
        (folder / f"{name}.toml").write_text(content)
    return load(tmp_path / "livekeep.toml", folder)


def problems(tmp_path: Path, text: str, **drop_ins: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text, **drop_ins)
    return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_without_a_day_there_is_no_plan(tmp_path: Path) -> None:
    assert not load_text(tmp_path, '[schedule]\naround_events = "1h"\n').schedule.has_plan()


def test_a_drop_in_overrides_a_single_day(tmp_path: Path) -> None:
    plan = '[schedule]\nmon-fri = "08:00-22:00"\nsat = "on"\n'
    schedule = load_text(tmp_path, plan, a='[schedule]\nsat = "off"\n2026-12-24 = "10:00-24:00"\n').schedule
    assert schedule.days == {"mon-fri": "08:00-22:00", "sat": "off", "2026-12-24": "10:00-24:00"}


def test_a_plan_may_be_json(tmp_path: Path) -> None:
    (tmp_path / "livekeep.toml").write_text("")
    (tmp_path / "a.json").write_text(json.dumps({"schedule": {"sat-mon": "on", "time_zone": "Europe/Berlin"}}))
    assert load(tmp_path / "livekeep.toml", tmp_path).schedule == Schedule(time_zone="Europe/Berlin", days={"sat-mon": "on"})


@pytest.mark.parametrize(
    ("day", "key"),
    [
        ("2026-12-21", "mon-fri"),
        ("2026-12-23", "wed"),
        ("2026-12-24", "2026-12-24"),
        ("2026-12-25", "2026-12-25-2027-01-06"),
        ("2026-12-26", "2026-12-25-2027-01-06"),
        ("2027-01-06", "2026-12-25-2027-01-06"),
        ("2027-01-07", "mon-fri"),
        ("2027-01-09", "daily"),
    ],
)
def test_the_most_exact_key_applies_in_whatever_order_they_stand(tmp_path: Path, day: str, key: str) -> None:
    names = ["daily", "mon-fri", "wed", "2026-12-25-2027-01-06", "2026-12-24"]
    for order in (names, names[::-1]):
        text = "[schedule]\n" + "".join(f'{name} = "on"\n' for name in order)
        assert load_text(tmp_path, text).schedule.key_of(datetime.date.fromisoformat(day)) == key


def test_a_day_without_a_key_and_a_range_over_the_end_of_the_week() -> None:
    schedule = Schedule(days={"sat-mon": "on"})
    keys = [schedule.key_of(datetime.date(2026, 11, 30) + datetime.timedelta(days=offset)) for offset in range(7)]
    assert keys == ["sat-mon", "", "", "", "", "sat-mon", "sat-mon"]


def test_with_dates_only_the_other_days_are_on() -> None:
    monday, whole = datetime.date(2026, 11, 30), [(0, 1440)]
    assert [Schedule(days=days).spans_on(monday) for days in ({}, {"2026-12-24": "off"}, {"tue": "on"})] == [whole, whole, []]


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("on", [(0, 1440)]),
        ("off", []),
        ("08:00-22:00", [(480, 1320)]),
        ("08:00-12:00, 14:30-24:00", [(480, 720), (870, 1440)]),
        ("20:00-02:00", [(1200, 1560)]),
        ("00:00-24:00", [(0, 1440)]),
    ],
)
def test_the_spans_of_a_day(tmp_path: Path, value: str, spans: list[tuple[int, int]]) -> None:
    assert list(spans_of(load_text(tmp_path, f'[schedule]\nmon = "{value}"\n').schedule.days["mon"])) == spans


TIMES = 'must be "on", "off" or times such as "08:00-22:00" or "08:00-12:00, 20:00-02:00"'


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *((value, TIMES) for value in ("", "8-22", "08:00", "8:00-22:00", "25:00-26:00", "24:00-02:00", "08:60-09:00")),
        ("08:00-22:00,", TIMES),
        ("08:00-08:00", 'must have spans that end at another time than they begin; a whole day is "on"'),
        ("08:00-12:00, 11:59-13:00", "must have spans that do not overlap"),
        ("20:00-02:00, 23:00-23:30", "must have spans that do not overlap"),
    ],
)
def test_times_that_make_no_sense_are_errors(tmp_path: Path, value: str, problem: str) -> None:
    assert problems(tmp_path, f'[schedule]\nmon = "{value}"\n') == [f'livekeep.toml: schedule.mon: {problem}, is "{value}"']


def test_a_key_that_is_no_day_is_an_error_that_names_what_is_one(tmp_path: Path) -> None:
    keys = ["monday", "days", "2026-02-30", "2026-12-24-2026-12-01", "2026-01-01-2027-12-31"]
    text = "[schedule]\n" + "".join(f'{name} = "on"\n' for name in keys)
    said = problems(tmp_path, text)
    assert [line.partition(": must")[0].rpartition(".")[2] for line in said] == keys
    assert said[0] == (
        "livekeep.toml: schedule.monday: must be a day such as mon, days such as mon-fri, daily, a date such as 2026-12-24, "
        "or dates such as 2026-12-24-2027-01-06, or one of time_zone, around_events, force"
    )
    assert "must begin with the earlier date" in said[3]
    assert "must be at most 366 days" in said[4]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("mon-fri", "fri-sat", "fri"),
        ("sat-mon", "sun-tue", "mon"),
        ("2026-12-24-2026-12-31", "2026-12-31-2027-01-06", "2026-12-31"),
    ],
)
def test_ranges_that_share_a_day_are_an_error_in_the_file_of_the_later_one(
    tmp_path: Path, first: str, second: str, shared: str
) -> None:
    said = problems(tmp_path, f'[schedule]\n{first} = "on"\n', a=f'[schedule]\n{second} = "off"\n')
    assert said == [f"livekeep.d/a.toml: schedule.{second}: must not share a day with {first}; {shared} is in both"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('time_zone = "Europe/Berln"', 'must be a time zone such as "Europe/Berlin"; timedatectl list-timezones shows them'),
        ('time_zone = "../../etc/passwd"', 'must be a time zone such as "Europe/Berlin"'),
        ('around_events = "15"', 'must be a time such as "15m", "1h" or "90s", at most "24h", or "0"'),
        ('around_events = "25h"', 'must be a time such as "15m"'),
        ("mon = 8", 'must be text in quotes, such as "…"'),
    ],
)
def test_other_faulty_values(tmp_path: Path, line: str, problem: str) -> None:
    (said,) = problems(tmp_path, f"[schedule]\n{line}\n")
    assert said.startswith(f"livekeep.toml: schedule.{line.split(' = ', maxsplit=1)[0]}: {problem}")


def test_a_faulty_day_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "livekeep.toml").write_text('[schedule]\nmon = "on"\ntue = "maybe"\n')
    config, found = load_leniently(tmp_path / "livekeep.toml", tmp_path / "none")
    assert (config.schedule.days, len(found)) == ({"mon": "on"}, 1)


def test_durations() -> None:
    assert [seconds_of(text) for text in ("0", "90s", "15m", "1h")] == [0.0, 90.0, 900.0, 3600.0]


def test_the_tables_of_the_tv(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, '[tv]\nmethod = "ir"\n')
    assert said == 'livekeep.toml: tv.method: must be one of "auto", "cec", "blank", "black", is "ir"'
    (said,) = problems(tmp_path, '[tv]\ncec_device = "cec0"\n')
    assert said == 'livekeep.toml: tv.cec_device: must be a device such as "/dev/cec0", is "cec0"'
