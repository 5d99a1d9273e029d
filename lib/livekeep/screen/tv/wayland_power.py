"""Switches the outputs of a Wayland compositor off and on: wlr-output-power-management, which those of the wlroots family have.

Source: wlr-output-power-management-unstable-v1.xml.
"""

from pathlib import Path

from livekeep.core.errors import TemporaryError
from livekeep.screen.display.wayland import WORD, Connection, words
from livekeep.screen.tv.blanking import BlankingError

MANAGER = "zwlr_output_power_manager_v1"
SWITCH_SECONDS = 5.0


class WaylandPower(Connection):
    """The outputs of a compositor. Raises `BlankingError` if it is not there or cannot switch them."""

    def __init__(self, path: Path) -> None:
        self._modes: dict[str, int] = {}
        """The last mode that the compositor reported of each output, 1 for on."""
        try:
            super().__init__(path)
        except TemporaryError as error:
            raise BlankingError(f"{error}; is the desktop running?") from error
        if MANAGER not in dict(self.globals):
            self.close()
            raise BlankingError(f"{path}: the compositor cannot switch outputs ({MANAGER}); use labwc or sway")

    def switch(self, is_on: bool) -> None:
        """Switch all outputs, and wait until the compositor reports that they are. Raises `BlankingError`."""
        try:
            manager = self.bind(dict(self.globals)[MANAGER], MANAGER, 1, "manager")
            for interface, number in tuple(self.globals):
                if interface == "wl_output":
                    output, power = self.bind(number, interface, 1, f"output {number}"), self.named(f"power {number}")
                    self.send(manager, 0, words(power, output))
                    self.send(power, 0, words(is_on))
            self.synchronize()
            # One that refuses reports nothing: the mode stays as it was.
            self.receive_until(lambda: set(self._modes.values()) == {int(is_on)}, SWITCH_SECONDS)
        except (OSError, TemporaryError) as error:
            raise BlankingError(
                f"the Wayland compositor does not switch its outputs ({error}); is the desktop running?"
            ) from error
        if set(self._modes.values()) != {int(is_on)}:
            wanted = "on" if is_on else "off"
            raise BlankingError(f'the Wayland compositor does not switch its outputs {wanted}; set tv.method = "black"')

    def handle(self, name: str, opcode: int, number: int, data: bytes) -> None:
        if name.startswith("power ") and opcode == 0:
            self._modes[name] = WORD.unpack_from(data)[0]
        else:
            super().handle(name, opcode, number, data)
