"""A Debian machine with a real screen and real sound, in QEMU without KVM."""

from .image import Image, Recipe, build
from .vm import VM, Result

__all__ = ["VM", "Image", "Recipe", "Result", "build"]
