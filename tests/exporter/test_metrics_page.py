"""The whole page of a machine whose states and sensors are known, sample by sample: `page.prom` is what it was.

To write the file again after a change of the metrics: /usr/bin/python3 -m tests.exporter.test_metrics_page
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from livekeep.exporter.metrics import FAMILIES, UNITS
from tests.exporter.full_states import CHANNEL, END, intend, write_all, write_channel
from tests.exporter.running_exporter import PROGRAM, environment_for
from tests.exporter.test_host_metrics import PI4, grow

PAGE = Path(__file__).with_name("page.prom")
MOVING = (
    "livekeep_exporter_collector_duration_seconds",
    "livekeep_host_filesystem_available_bytes",
    "livekeep_host_filesystem_size_bytes",
    "livekeep_channel_last_acknowledged_timestamp_seconds",
)
"""Others at each run: only that they are there is compared."""

Families = dict[str, tuple[str, str]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> tuple[Families, Samples]:
    """The families with type and help, and the samples."""
    families, samples = {}, {}
    for family in text_string_to_metric_families(text):
        families[family.name] = (family.type, family.documentation)
        for sample in family.samples:
            labels = {} if sample.name == "livekeep_build_info" else sample.labels
            key = sample.name, tuple(sorted(labels.items()))
            assert key not in samples, "a sample stands there twice"
            samples[key] = 0.0 if sample.name in MOVING else sample.value
    return families, samples


def page_of(root: Path, program: Path = PROGRAM) -> str:
    """What the program writes of the known machine."""
    states, target = root / "run/livekeep", root / "page.prom"
    grow(root, {**PI4, "proc/pressure/io": "some avg10=0.00 total=5\n", "sys/class/hwmon/hwmon0/fan1_input": "3000\n"})
    write_all(states)
    # A worker's state is stale after ten seconds, which a busy machine may take.
    write_channel(CHANNEL, states, seconds_ago=-60)
    write_channel(END, states)
    intend("main", root / "var/lib/livekeep")
    subprocess.run([program, "--textfile", target], env=environment_for(root), check=True, stderr=subprocess.DEVNULL)
    return target.read_text()


def test_the_page_is_as_it_was(tmp_path: Path) -> None:
    families, samples = read(page_of(tmp_path))
    assert (families, samples) == read(PAGE.read_text())
    elsewhere = {*UNITS, *(name for name in FAMILIES if name.startswith("process_"))}
    assert set(families) == {name.removesuffix("_total") for name in FAMILIES if name not in elsewhere}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        written = page_of(Path(folder), Path(os.environ.get("PROGRAM", PROGRAM)))
    PAGE.write_text(written)
    sys.stdout.write(f"{PAGE}: {len(read(written)[1])} samples\n")
