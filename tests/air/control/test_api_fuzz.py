"""The API against its own published document: schemathesis asks whatever the document allows, and much that it does not."""

import os
import subprocess
from pathlib import Path

from tests.air.running_controller import TOKEN, machine

# A channel that the document allows may not be there, may run, or may not start; and without a name there may be several.
EXPECTED = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "409", "422", "424"]
"""
LONGEST_SECONDS = 200


def test_nothing_that_may_be_asked_breaks_it(tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(EXPECTED)
    with machine(tmp_path) as made, made.controller() as running:
        assert running.ask("GET", "/health").status == 200
        url = f"http://127.0.0.1:{running.port}/openapi.json"
        command = ["schemathesis", "--config-file", settings, "run", url, "--checks", "all"]
        token = ["--header", f"Authorization: Bearer {TOKEN}"]
        bounds = ["--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--seed", "7", "--suppress-health-check", "all"]
        options = ["--continue-on-failure", "--no-shrink", "--generation-database", "none", "--warnings", "off", "--no-color"]
        done = subprocess.run(
            [*command, *token, *bounds, *options],
            cwd=tmp_path,
            env=os.environ | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert running.ask("GET", "/health").status == 200
    log = made.log.read_text()
    assert ": 500 in" not in log
    assert ": 503 in" not in log
    assert "Traceback" not in log
    assert log.count(": 2") > 50
