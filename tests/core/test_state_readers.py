"""The readers of each state in docs/explanation/architecture.md are those that the source shows.

From a launcher's main() on each reference to a function, class or constant of livekeep is followed; a program reads a state when
something that is reached so calls a reading function with the state's type.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.outside import LIBRARY, PROJECT

READING = {"read", "read_or_error", "read_state", "state", "current"}
RESULTS = "livekeep.core.probe_results.PROBES"
"""A reader that uses this table reads the results of all probes."""
FOUND_BY_NAME = {
    "livekeep": ("livekeep.command.",),
    "livekeep-probe": ("livekeep.probes.",),
    "livekeep-web": ("livekeep.record.web.",),
}
"""Modules that a program imports by a name that it makes up."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@cache
def modules() -> dict[str, ast.Module]:
    parsed = {}
    for file in LIBRARY.rglob("*.py"):
        parts = file.relative_to(LIBRARY).with_suffix("").parts
        parsed[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text())
    return parsed


@cache
def imports(module: str) -> dict[str, str]:
    """The names that a module imports from livekeep, in full."""
    nodes = [node for node in ast.walk(modules()[module]) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").startswith("livekeep")]
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in ours for alias in node.names}


@cache
def definitions(module: str) -> dict[str, Definition]:
    named: dict[str, Definition] = {}
    for node in modules()[module].body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            named[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return named


@cache
def resolve(name: str) -> str:
    """A full name as where it is defined: through what a package hands on."""
    module, _, last = name.rpartition(".")
    if name in modules() or module not in modules() or last in definitions(module):
        return name
    target = imports(module).get(last, name)
    return name if target == name else resolve(target)


def references(module: str, node: ast.AST) -> Iterator[str]:
    for it in ast.walk(node):
        if isinstance(it, ast.Name) and it.id in imports(module):
            yield resolve(imports(module)[it.id])
        elif isinstance(it, ast.Name) and it.id in definitions(module):
            yield f"{module}.{it.id}"
        elif isinstance(it, ast.Attribute) and isinstance(it.value, ast.Name) and it.value.id in imports(module):
            yield resolve(f"{imports(module)[it.value.id]}.{it.attr}")


@cache
def references_of(name: str) -> frozenset[str]:
    module, _, last = name.rpartition(".")
    return frozenset(references(module, definitions(module)[last]))


def reached(roots: Iterable[str]) -> set[str]:
    todo, done = [resolve(root) for root in roots], set()
    while todo:
        name = todo.pop()
        module, _, last = name.rpartition(".")
        if name not in done and module in modules() and last in definitions(module):
            done.add(name)
            todo += references_of(name)
    return done


@cache
def states() -> dict[str, str]:
    """The file of each state, by its type's full name."""
    files = {}
    for module in modules():
        for name, node in definitions(module).items():
            for line in node.body if isinstance(node, ast.ClassDef) else ():
                if found := re.fullmatch(r"FILE(?:: ClassVar\[str\])? = '(.+)'", ast.unparse(line)):
                    files[f"{module}.{name}"] = f"worker@CHANNEL/{found[1]}" if module.endswith("channels") else found[1]
    return {name: re.sub(r"^probe-\w+/", "probe-NAME/", file) for name, file in files.items()}


@cache
def read_in(name: str) -> frozenset[str]:
    module, _, last = name.rpartition(".")
    found = set()
    for call in ast.walk(definitions(module)[last]):
        if not isinstance(call, ast.Call):
            continue
        function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if function in READING and call.args:
            found |= {states()[kind] for argument in call.args for kind in references(module, argument) if kind in states()}
            found |= {"probe-NAME/state.json"} if RESULTS in references_of(name) else set()
    return frozenset(found)


def roots_of(program: Path) -> list[str]:
    roots = [
        f"{module}.main" for module in re.findall(r"^from (livekeep\.[\w.]+) import main$", program.read_text(), re.MULTILINE)
    ]
    by_name = FOUND_BY_NAME.get(program.name, ())
    return roots + [f"{module}.{it}" for module in modules() if module.startswith(by_name or "-") for it in definitions(module)]


def derived() -> dict[str, set[str]]:
    """The programs that read it, by the state's file; without "livekeep-", and the operator's command as "command"."""
    readers: dict[str, set[str]] = {file: set() for file in states().values()}
    for program in (PROJECT / "bin").iterdir():
        for name in reached(roots_of(program)):
            for file in read_in(name):
                readers[file].add("command" if program.name == "livekeep" else program.name.removeprefix("livekeep-"))
    return readers


def told() -> dict[str, set[str]]:
    """The same as the document says it."""
    text = (PROJECT / "docs/explanation/architecture.md").read_text()
    rows = re.findall(r"^\| `/run/livekeep/(\S+\.json)` \| [^|]+ \| ([^|:]+?)(?:: [^|]*)? \|$", text, re.MULTILINE)
    return {file: set(readers.split(", ")) for file, readers in rows}


def test_the_document_says_which_programs_read_a_state() -> None:
    assert told() == derived()
