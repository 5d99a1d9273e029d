"""What a file is that is meant to be shown: picture or video, by its first bytes."""

from pathlib import Path
from typing import Literal

HEAD_BYTES = 512
Mark = tuple[int, bytes]
PICTURES: tuple[Mark, ...] = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF8"),
    (8, b"WEBP"),
    (0, b"BM"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
)
VIDEOS: tuple[Mark, ...] = (
    (4, b"ftyp"),
    (0, b"\x1a\x45\xdf\xa3"),
    (8, b"AVI "),
    (0, b"OggS"),
    (188, b"\x47"),
    (0, b"\0\0\x01\xba"),
    (0, b"FLV"),
)
"""Offset and bytes: PNG, JPEG, GIF, WebP, BMP, TIFF (two); MP4, Matroska, AVI, Ogg, MPEG-TS, MPEG-PS, FLV."""

Kind = Literal["picture", "video", ""]


def kind_of(path: Path) -> Kind:
    """ "picture", "video", or "" for anything else. Raises `OSError`."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if matches(head, PICTURES):
        return "picture"
    return "video" if matches(head, VIDEOS) else ""


def matches(head: bytes, marks: tuple[Mark, ...]) -> bool:
    return any(head[offset : offset + len(mark)] == mark for offset, mark in marks)
