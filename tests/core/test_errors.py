"""How a program ends by an error."""

import pytest

from livekeep.core.errors import ConfigError
from tests.outside import run_python


def end_with(statement: str) -> tuple[int, str]:
    """Exit code and standard error of a program whose main runs `statement`."""
    script = (
        "import sys\nfrom livekeep.core.errors import *\n"
        f"def main():\n    {statement}\n    return 0\n"
        "sys.exit(exit_with_sentence(main))"
    )
    ran = run_python(script)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    ("statement", "code", "text"),
    [
        ("pass", 0, ""),
        ("return 3", 3, ""),
        ("raise ConfigError(['a: is bad', 'b: too'])", 78, "<3>a: is bad\n<3>b: too\n"),
        ("raise TemporaryError('c: is away')", 1, "<3>c: is away\n"),
    ],
)
def test_the_exit_code_tells_what_to_do(statement: str, code: int, text: str) -> None:
    assert end_with(statement) == (code, text)


def test_a_bug_leaves_its_traceback() -> None:
    code, text = end_with("1 / 0")
    assert code == 1
    assert text.startswith("Traceback")
    assert "ZeroDivisionError" in text


def test_a_config_error_keeps_its_problems_apart() -> None:
    assert ConfigError(["a", "b"]).problems == ("a", "b")
