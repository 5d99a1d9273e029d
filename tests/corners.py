"""A picture with a colour in each corner: it shows how a screen is turned."""

import io

from PIL import Image

RED, GREEN, BLUE, YELLOW, BLACK = (200, 40, 40), (40, 160, 60), (40, 60, 200), (230, 220, 50), (0, 0, 0)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""


def corners(size: tuple[int, int] = (640, 360)) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size)
    for number, colour in enumerate(CORNERS):
        left, top = number % 2 * width // 2, number // 2 * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def corners_png() -> bytes:
    file = io.BytesIO()
    corners().save(file, "PNG")
    return file.getvalue()


def has(image: Image.Image, colours: tuple[tuple[int, int, int], ...] = CORNERS) -> bool:
    """Whether a picture of 16:9, as large as fits in the image, has about these colours in its corners, and black around it."""
    height = min(image.height, image.width * 9 // 16)
    top, middle = (image.height - height) // 2, image.width // 2
    places = [(x, top + y) for y in (height // 8, height * 7 // 8) for x in (image.width // 8, image.width * 7 // 8)]
    bars = [(middle, top - 9), (middle, image.height - top + 9)] if top else []
    wanted = (*colours, *[BLACK] * len(bars))
    return all(is_like(image.getpixel(place), colour) for place, colour in zip([*places, *bars], wanted, strict=True))


def is_like(found: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(one - other) < 25 for one, other in zip(found, colour, strict=True))
