#!/usr/bin/python3
"""Make holding.png, error.png and slate.png, the default pictures, and black.png beside this script or in a given directory.

Needs the Debian packages python3-pil and fonts-inter-variable; run with /usr/bin/python3. The same versions
give the same bytes every time.

The lower part of holding.png and error.png is left empty, as livekeep writes there at run time: on the first one line
centred at 82 % of the height, on the other the reason and what to do, from 66 % to 92 %. Nothing is written on slate.png,
which goes on air as it is. No part of them is black; black.png is, which is shown while the TV is off on purpose.
"""

import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1920, 1080
COARSE = 8
"""The background is soft, so its brightness is computed at an eighth of the size and enlarged."""
GRAIN = 2
"""Pixels to a side of a grain of dither: too faint to be seen, and a third of the file of single pixels."""
FINE = 4
"""Words and mark are drawn at four times the size and reduced, for smooth edges."""
LINE = 7
"""How thick the waves of the mark are."""
TILE = 32
"""Grains to a side of the pattern of the dither."""
FONT = Path("/usr/share/fonts/truetype/inter-vf/InterDisplay.var.ttf")

Colour = tuple[float, float, float]
Pixel = tuple[int, int, int]


@dataclass(frozen=True)
class Light:
    """A soft disc that adds its colour, in pixels of the picture. An edge of 1 fades from the centre on."""

    x: float
    y: float
    radius: float
    colour: Colour
    edge: float = 1.0

    def at(self, x: float, y: float) -> float:
        distance = math.hypot(x - self.x, y - self.y) / self.radius
        inside = min(max((1 - distance) / self.edge, 0), 1)
        return inside * inside * (3 - 2 * inside)


@dataclass(frozen=True)
class Words:
    text: str
    y: float
    size: int
    weight: int
    colour: Pixel
    spacing: float = 0.0
    """Added between two letters, in parts of the size."""


@dataclass(frozen=True)
class Picture:
    corners: tuple[Colour, Colour, Colour, Colour]
    """Top left, top right, bottom left, bottom right."""
    lights: tuple[Light, ...]
    words: tuple[Words, ...]
    mark_y: float
    mark_colour: Pixel
    interrupted: bool = False


def lights(glow: Colour, far: Colour, near: Colour) -> tuple[Light, ...]:
    """A glow behind the words, two wide discs in opposite corners and small ones beside them."""
    return (
        Light(960, 420, 1050, glow),
        Light(1760, 90, 640, far, edge=0.5),
        Light(1520, -110, 520, far, edge=0.28),
        Light(120, 980, 560, far, edge=0.5),
        Light(420, 1200, 480, far, edge=0.28),
        Light(1690, 330, 150, near, edge=0.16),
        Light(1822, 500, 84, near, edge=0.2),
        Light(236, 700, 112, near, edge=0.18),
        Light(112, 560, 60, near, edge=0.24),
    )


HOLDING = Picture(
    corners=((14, 27, 62), (10, 44, 78), (9, 38, 68), (10, 84, 92)),
    lights=lights(glow=(6, 30, 38), far=(3, 15, 22), near=(5, 13, 15)),
    words=(Words("We will be live soon", 556, 124, 390, (240, 248, 252), spacing=-0.008),),
    mark_y=346,
    mark_colour=(134, 218, 222),
)

ERROR = Picture(
    corners=((56, 27, 26), (72, 38, 26), (52, 25, 26), (76, 40, 28)),
    lights=lights(glow=(40, 21, 9), far=(19, 10, 4), near=(15, 9, 4)),
    words=(
        Words("We will be right back", 440, 116, 390, (253, 246, 238), spacing=-0.008),
        Words("The picture is interrupted", 568, 50, 400, (236, 204, 170), spacing=0.01),
    ),
    mark_y=242,
    mark_colour=(236, 184, 122),
    interrupted=True,
)

SLATE = Picture(
    corners=((38, 22, 66), (22, 38, 84), (30, 24, 66), (62, 36, 96)),
    lights=lights(glow=(22, 22, 38), far=(10, 10, 22), near=(10, 9, 15)),
    words=(
        Words("We will be right back", 540, 116, 390, (246, 243, 253), spacing=-0.008),
        Words("The programme continues shortly", 668, 50, 400, (204, 194, 236), spacing=0.01),
    ),
    mark_y=342,
    mark_colour=(184, 168, 236),
    interrupted=True,
)


def mix(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def ground(picture: Picture, channel: int, x: float, y: float) -> float:
    left_top, right_top, left_bottom, right_bottom = (corner[channel] for corner in picture.corners)
    across, down = x / WIDTH, y / HEIGHT
    return mix(mix(left_top, right_top, across), mix(left_bottom, right_bottom, across), down)


def field(value: Callable[[float, float], float]) -> Image.Image:
    """The value at each place, as floats, a pixel for each grain."""
    width, height = WIDTH // COARSE, HEIGHT // COARSE
    places = ((x, y) for y in range(height) for x in range(width))
    coarse = Image.new("F", (width, height))
    coarse.putdata([value((x + 0.5) * COARSE, (y + 0.5) * COARSE) for x, y in places])
    return coarse.resize((WIDTH // GRAIN, HEIGHT // GRAIN), Image.Resampling.BICUBIC)


def brightness(picture: Picture, channel: int) -> Image.Image:
    def value(x: float, y: float) -> float:
        added = sum(light.at(x, y) * light.colour[channel] for light in picture.lights)
        return ground(picture, channel, x, y) + added

    return field(value)


def thresholds() -> list[list[float]]:
    """A tile of evenly scattered thresholds (blue noise): each goes where the earlier ones are farthest."""
    chance = random.Random(1)  # noqa: S311 – a texture
    energy = {(x, y): chance.random() * 1e-6 for y in range(TILE) for x in range(TILE)}
    tile = [[0.0] * TILE for _ in range(TILE)]
    for rank in range(TILE * TILE):
        x, y = min(energy, key=energy.__getitem__)
        tile[y][x] = (rank + 0.5) / (TILE * TILE)
        del energy[x, y]
        for place in energy:
            energy[place] += math.exp(-nearness(place, (x, y)) / 4.5)
    return tile


def nearness(place: tuple[int, int], other: tuple[int, int]) -> int:
    """The squared distance on a tile whose opposite edges meet."""
    across, down = abs(place[0] - other[0]), abs(place[1] - other[1])
    return min(across, TILE - across) ** 2 + min(down, TILE - down) ** 2


def dithered(values: Image.Image, tile: list[list[float]]) -> Image.Image:
    """Rounded up or down by the tile, so that a slow gradient shows no bands."""
    levels = list(values.getdata())
    width, height = values.size
    rows = (levels[start : start + width] for start in range(0, width * height, width))
    data = b"".join(rounded(row, limits) for row, limits in zip(rows, cycle(tile)))
    return Image.frombytes("L", values.size, data).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)


def rounded(levels: list[float], limits: list[float]) -> bytes:
    return bytes(int(level + limit) for level, limit in zip(levels, cycle(limits)))


def background(picture: Picture, tile: list[list[float]]) -> Image.Image:
    return Image.merge("RGB", [dithered(brightness(picture, channel), tile) for channel in range(3)])


def font(size: int, weight: int) -> ImageFont.FreeTypeFont:
    face = ImageFont.truetype(str(FONT), size * FINE)
    face.set_variation_by_axes([weight, 0])
    return face


def write(draw: ImageDraw.ImageDraw, words: Words) -> None:
    """Centred, the middle of the capitals at y; kerned, as each letter stands where its prefix ends."""
    face = font(words.size, words.weight)
    space = words.spacing * words.size * FINE
    width = face.getlength(words.text) + space * (len(words.text) - 1)
    left = (WIDTH * FINE - width) / 2
    cap = face.getbbox("H", anchor="ls")
    baseline = words.y * FINE - cap[1] / 2
    if not space:
        draw.text((left, baseline), words.text, fill=255, font=face, anchor="ls")
        return
    for index, letter in enumerate(words.text):
        before = face.getlength(words.text[: index + 1]) - face.getlength(letter)
        draw.text((left + before + space * index, baseline), letter, fill=255, font=face, anchor="ls")


def wave(draw: ImageDraw.ImageDraw, y: float, radius: float, spread: float, towards: float) -> None:
    """An arc with round ends around the middle of the picture; degrees run clockwise from the right."""
    start, end = towards - spread, towards + spread
    draw.arc(around(WIDTH / 2, y, radius + LINE / 2), start, end, fill=255, width=LINE * FINE)
    for angle in (math.radians(start), math.radians(end)):
        dot(draw, WIDTH / 2 + radius * math.cos(angle), y + radius * math.sin(angle), LINE / 2)


def dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    draw.ellipse(around(x, y, radius), fill=255)


def around(x: float, y: float, across: float, up: float | None = None) -> tuple[float, float, float, float]:
    """The box that reaches so far from its middle, in fine pixels; its last ones are inside, hence the 1."""
    up = across if up is None else up
    return (x - across) * FINE, (y - up) * FINE, (x + across) * FINE - 1, (y + up) * FINE - 1


def mark(draw: ImageDraw.ImageDraw, picture: Picture) -> None:
    """A dot that sends out waves; on the interrupted one the two bars of a pause in place of the dot."""
    for radius, spread in ((40, 48), (70, 42)):
        wave(draw, picture.mark_y, radius, spread, towards=0)
        wave(draw, picture.mark_y, radius, spread, towards=180)
    if picture.interrupted:
        bar(draw, WIDTH / 2 - 10, picture.mark_y)
        bar(draw, WIDTH / 2 + 10, picture.mark_y)
    else:
        dot(draw, WIDTH / 2, picture.mark_y, 13)


def bar(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    draw.rounded_rectangle(around(x, y, 4.5, 18), radius=4.5 * FINE, fill=255)


def overlay(draw_on: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    mask = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    draw_on(ImageDraw.Draw(mask))
    return mask.reduce(FINE)


def made(picture: Picture, tile: list[list[float]]) -> Image.Image:
    image = background(picture, tile)
    image.paste(picture.mark_colour, mask=overlay(partial(mark, picture=picture)))
    for words in picture.words:
        image.paste(words.colour, mask=overlay(partial(write, words=words)))
    return image


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    tile = thresholds()
    for name, picture in (("holding.png", HOLDING), ("error.png", ERROR), ("slate.png", SLATE)):
        made(picture, tile).save(directory / name, optimize=True)
    Image.new("L", (64, 36)).save(directory / "black.png", optimize=True)


if __name__ == "__main__":
    main()
