"""Samples as text, compared with what prometheus_client and promtool read out of it."""

import gzip
import math
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from livekeep.exporter.exposition import MOST_KEPT, Block, Writer, gzipped, number, page
from livekeep.exporter.metrics import FAMILIES, Sample

BUCKET = "livekeep_api_request_duration_seconds"


def every_sample() -> list[Sample]:
    """One of each family, and one histogram that is right."""
    samples: list[Sample] = []
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            samples += [(f"{name}_bucket", ("0.5",), 3), (f"{name}_bucket", ("+Inf",), 4), (f"{name}_count", (), 4)]
            samples.append((f"{name}_sum", (), 2.25))
        else:
            samples.append((name, tuple(f"a {label}" for label in family.labels), 1))
    return samples


def written(samples: list[Sample], is_openmetrics: bool = False) -> str:
    block: Block = {}
    Writer().write(samples, block)
    return page([block], is_openmetrics).decode()


def values(text: str, is_openmetrics: bool = False) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = (read_openmetrics if is_openmetrics else read_text)(text)
    return {(it.name, tuple(sorted(it.labels.items()))): it.value for family in families for it in family.samples}


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_prometheus_client_reads_every_family(is_openmetrics: bool) -> None:
    text = written(every_sample(), is_openmetrics)
    read = {family.name: family for family in (read_openmetrics if is_openmetrics else read_text)(text)}
    assert len(read) == len(FAMILIES)
    for name, family in FAMILIES.items():
        # The parser of the older format drops the suffix of a counter too.
        found = read[name.removesuffix("_total")]
        assert found.type == (family.kind if family.kind in ("counter", "histogram") else "gauge")
        assert found.documentation == family.help
        for sample in found.samples:
            assert sample.name.startswith(name)
            assert set(sample.labels) - {"le"} == set(family.labels)
    assert sum(len(family.samples) for family in read.values()) == len(every_sample())


def test_promtool_is_content() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: tests/run installs what the tests need"
    page_of_all = written(every_sample()).encode()
    ran = subprocess.run([promtool, "check", "metrics"], input=page_of_all, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, b"")


def test_the_families_keep_their_order_whoever_gives_them() -> None:
    first: Block = {}
    second: Block = {}
    Writer().write([("livekeep_probe_success", ("dns", "b"), 1), ("livekeep_host_load1", (), 1)], first)
    Writer().write([("livekeep_probe_success", ("dns", "a"), 0), ("livekeep_stream_state", ("live",), 1)], second)
    lines = [line for line in page([first, second], False).decode().splitlines() if line.startswith("# TYPE")]
    assert [line.split()[2] for line in lines] == ["livekeep_stream_state", "livekeep_probe_success", "livekeep_host_load1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1"),
        (True, "1"),
        (-0.25, "-0.25"),
        (1795269564.8476398, "1795269564.8476398"),
        (1e300, "1e+300"),
        (1e16, "1e+16"),
        (2**53, "9007199254740992"),
        (5e-324, "5e-324"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_a_number_is_written_shortly_and_read_back_exactly(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text.replace("Inf", "inf")) == value


@pytest.mark.parametrize("label", ['a "quoted" one', "back\\slash", "two\nlines", "\\n", "", "Übung ✓", "a,b}c=1", "\r"])
@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_a_label_is_read_back_as_it_was(label: str, is_openmetrics: bool) -> None:
    text = written([("livekeep_host_filesystem_size_bytes", (label,), 5)], is_openmetrics)
    assert values(text.replace("\r", "CR"), is_openmetrics) == {
        ("livekeep_host_filesystem_size_bytes", (("mountpoint", label.replace("\r", "CR")),)): 5
    }


def test_a_label_that_is_no_text_does_not_spoil_the_page() -> None:
    block: Block = {}
    Writer().write([("livekeep_host_filesystem_size_bytes", ("/media/\udcff",), 5)], block)
    assert b'mountpoint="/media/?"' in page([block], False)


def test_not_a_number_has_no_series() -> None:
    text = written([("livekeep_host_load1", (), math.nan), ("livekeep_host_load5", (), 2)])
    assert values(text) == {("livekeep_host_load5", ()): 2}
    assert "load1 " not in text


def test_a_series_that_is_given_twice_stands_there_once() -> None:
    first: Block = {}
    second: Block = {}
    Writer().write([("livekeep_host_load1", (), 1), ("livekeep_host_load1", (), 2)], first)
    Writer().write([("livekeep_host_load1", (), 3)], second)
    assert page([first], False).decode().count("\nlivekeep_host_load1 ") == 1
    assert page([first, second], False).decode().count("\nlivekeep_host_load1 ") == 1


@pytest.mark.parametrize(
    "sample",
    [
        ("livekeep_no_such_thing", (), 1.0),
        ("livekeep_host_load1", ("one too many",), 1.0),
        ("livekeep_host_cpu_seconds_total", (), 1.0),
        (BUCKET, (), 1.0),
        (f"{BUCKET}_bucket", (), 1.0),
        ("livekeep_host_load1", (), "many"),
    ],
)
def test_a_sample_that_is_no_member_of_its_family_is_refused(sample: Sample) -> None:
    with pytest.raises(ValueError, match=r"is no family|has the labels|could not convert"):
        written([sample])


def test_the_beginnings_of_lines_do_not_pile_up() -> None:
    writer = Writer()
    for turn in range(3):
        block: Block = {}
        mounts = [f"/{turn}/{number}" for number in range(MOST_KEPT)]
        writer.write([("livekeep_host_filesystem_size_bytes", (mount,), 1) for mount in mounts], block)
        assert page([block], False).count(b"\nlivekeep_host_filesystem_size_bytes{") == MOST_KEPT
    assert len(writer._series) <= MOST_KEPT


def test_openmetrics_ends_with_its_mark_and_the_older_format_without() -> None:
    assert written([], True) == "# EOF\n"
    assert written([], False) == ""


def test_gzip_is_unpacked_to_the_same() -> None:
    text = written(every_sample()).encode()
    assert gzip.decompress(gzipped(text)) == text
    assert len(gzipped(text)) < len(text) / 3
