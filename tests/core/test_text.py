"""One line of plain text, whatever is in it."""

import sys
import unicodedata

import pytest

from livekeep.core.text import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Größe 日本 👍🏽 é", "Größe 日本 👍🏽 é"),
        ("a\nb\r\n", r"a\nb\r\n"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\x9b31m\x85\x7f\x00", r"\x9b31m\x85\x7f\x00"),
        ("gpj.\u202eexe\u2066\u200f", r"gpj.\u202eexe\u2066\u200f"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        ("a\u00a0b\u200d", "a\u00a0b\u200d"),
    ],
)
def test_what_is_not_to_be_shown_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_no_character_breaks_a_line_or_controls_anything() -> None:
    """All of Unicode: what is shown can be written out, is one line, and holds no control character of any kind."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        text = shown(f"a{character}b")
        text.encode()
        assert text.splitlines() == [text], hex(code)
        assert not any(unicodedata.category(one) in ("Cc", "Cs") for one in text), hex(code)
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") or (
            character not in text
        ), hex(code)
