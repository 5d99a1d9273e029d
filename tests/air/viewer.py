"""A real player at the far end, for tests: the one of `livekeep air measure`, and waiting for what it sees."""

from livekeep.command.channel.measure import Gaps, Measurement, Packet, Player, gaps_of, measured
from tests.outside import PATIENCE_SECONDS, wait_until


class Viewer(Player):
    """Watches `url` from when it is made until `close`."""

    def pictures(self) -> list[Packet]:
        return [packet for packet in list(self.packets) if packet.kind == "video"]

    def wait_for_pictures(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        wait_until(f"{count} pictures at the player, have {len(self.pictures())}", lambda: len(self.pictures()) >= count, seconds)

    def gaps(self) -> Gaps:
        """Of the pictures so far."""
        found = gaps_of(self.pictures())
        assert found, f"the player saw no pictures: {self.errors}"
        return found

    def measured(self) -> Measurement:
        """All so far."""
        return measured(list(self.packets))

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
