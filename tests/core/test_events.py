"""Events: each is unique, and every place that emits one gives it the fields that it carries."""

import ast
import re
from collections.abc import Iterator

import pytest

from livekeep.core import events
from livekeep.core.events import Event
from tests.outside import LIBRARY, run_python

BY_CONSTANT = {name: value for name, value in vars(events).items() if isinstance(value, Event)}


def emissions() -> Iterator[tuple[str, ast.Call, set[str]]]:
    """Each call of events.emit in the library, with its file and the fields that it gives."""
    for file in sorted(LIBRARY.rglob("*.py")):
        functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "events.emit":
                    yield str(file.relative_to(LIBRARY / "livekeep")), node, fields_given(node, function)


def fields_given(call: ast.Call, function: ast.FunctionDef) -> set[str]:
    """The fields named in a call, and those of a dictionary of the same function that is handed over by `**`."""
    found = {keyword.arg for keyword in call.keywords if keyword.arg}
    spread = {ast.unparse(keyword.value) for keyword in call.keywords if not keyword.arg}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) in spread:
            found |= {ast.literal_eval(key) for key in node.value.keys if key}
    return found


def test_each_event_is_unique() -> None:
    for constant, event in BY_CONSTANT.items():
        assert event.name == constant.lower().replace("_", "-")
        assert re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", event.message_id), "not a UUID: systemd-id128 new"
        assert 2 <= event.priority <= 7
        assert len(set(event.fields)) == len(event.fields)
    assert len({event.message_id for event in events.ALL}) == len(events.ALL) == len(BY_CONSTANT)


@pytest.mark.parametrize(("file", "call", "given"), emissions(), ids=lambda it: it if isinstance(it, str) else "")
def test_what_is_emitted_has_the_event_s_fields(file: str, call: ast.Call, given: set[str]) -> None:
    for constant in set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", ast.unparse(call.args[0]))) & set(BY_CONSTANT):
        assert given == set(BY_CONSTANT[constant].fields), f"{file}:{call.lineno}"


def test_every_event_is_emitted_somewhere() -> None:
    text = "\n".join(file.read_text() for file in LIBRARY.rglob("*.py") if file.name != "events.py")
    assert {name for name in BY_CONSTANT if f"events.{name}" not in text} == set()


@pytest.mark.parametrize("fields", [{}, {"SCOPE": "", "EXTRA": 1}, {"scope": ""}])
def test_wrong_fields_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="event token-refused carries"):
        events.emit(events.TOKEN_REFUSED, "The token is refused", **fields)


def test_a_journal_that_takes_nothing_ends_nobody_s_work() -> None:
    """Its library opens a socket for the first event, and there is no descriptor left."""
    script = (
        "import resource\nfrom livekeep.core import events\nfrom systemd import journal\n"
        "most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))\n"
        "for _ in range(2): events.emit(events.TOKEN_REFUSED, 'The token is refused', SCOPE='x')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))\n"
        "print('goes on')"
    )
    done = run_python(script)
    assert done.stdout == "goes on\n"
    assert done.stderr == "<3>The token is refused (not in the journal: Too many open files)\n" * 2


def test_an_event_is_one_line_and_always_text() -> None:
    """Of a title with a line break, and of a name with half a surrogate pair, which is no text that the journal could be sent."""
    script = (
        "from systemd import journal\nfrom livekeep.core import events\n"
        "journal.sendv = lambda *fields: [print(ascii(field.encode().decode())) for field in fields]\n"
        "events.emit(events.TOKEN_REFUSED, 'refused\\n<0>forged\\x1b[2J', SCOPE='a\\ud800\\u202e')\n"
    )
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    sent = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert r"MESSAGE=refused\n<0>forged\x1b[2J" in sent
    assert r"LIVEKEEP_SCOPE=a\ud800\u202e" in sent
