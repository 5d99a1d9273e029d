"""The pages in this process, on a record that a test fills, and their content."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from starlette.testclient import TestClient

from livekeep.core.config import Config
from livekeep.record.reading import CurrentRecord
from livekeep.record.store.writer import Writer
from livekeep.record.web.application import Application
from livekeep.record.web.door import Door, Names
from livekeep.record.web.password import Guesses, Password
from livekeep.record.web.sources import Sources
from livekeep.system.screen_picture import Camera

BASE = "http://localhost"


@dataclass
class Site:
    """A tree with a record, and a browser that reads its pages."""

    root: Path
    password: str = ""
    is_local: bool = True
    start_camera: Callable[[], str] = str
    file: Path = field(init=False)
    browser: TestClient = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "run").mkdir(exist_ok=True)
        (self.root / "kept/channels").mkdir(parents=True, exist_ok=True)
        self.file = self.root / "record.db"
        sources = Sources(Config(), CurrentRecord(self.file), self.root / "run", self.root / "kept")
        password = Password(self.password)
        self.application = Application(sources, password, Guesses(), Camera(self.root / "run", self.start_camera))
        self.door = Door(self.application.app, Names(self.is_local), password)
        self.browser = TestClient(self.door, BASE)
        self.browser.follow_redirects = False

    def begin_again(self, name: str) -> None:
        """Replace the record by another one."""
        self.file = self.root / name
        self.application.sources.record = CurrentRecord(self.file)

    def writer(self) -> Writer:
        return Writer(self.file)

    def page(self, address: str) -> "Html":
        response = self.browser.get(address)
        assert response.status_code == 200, (address, response.status_code, response.text[:2000])
        return Html(response.text)

    def close(self) -> None:
        self.application.executor.shutdown()
        self.application.slow.shutdown()


class Html(HTMLParser):
    """A page's tables as the texts of their cells, its visible text, and its tags."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tables: list[list[list[str]]] = []
        self.figures: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._name = ""
        self.feed(text)
        self.close()
        assert self._open == [], "tags are left open"

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def links(self) -> list[str]:
        return list(dict.fromkeys(attributes.get("href") or "" for tag, attributes in self.tags if tag == "a"))

    @property
    def rows(self) -> list[list[str]]:
        """The rows of the only table, or the last one, without its header."""
        return self.tables[-1][1:] if self.tables else []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "dt":
            self._name = ""
        elif tag == "dd":
            self.figures[self._name.strip()] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> within {self._open}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "script" in self._open or "style" in self._open:
            return
        self.texts.append(data)
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data
        elif "dt" in self._open:
            self._name += data
        elif "dd" in self._open:
            self.figures[self._name.strip()] += data
