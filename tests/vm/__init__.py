"""A Debian machine with a real screen and real sound, in QEMU without KVM."""

from .image import Image, Recipe, build
from .recordings import read_ppm, read_wav, strength
from .vm import GUEST_HOST, VM, CommandFailedError, Result

__all__ = [
    "GUEST_HOST",
    "VM",
    "CommandFailedError",
    "Image",
    "Recipe",
    "Result",
    "build",
    "read_ppm",
    "read_wav",
    "strength",
]
