"""The playlist of a channel: which file comes next, while files are added and removed. Pure.

It plays in rounds: each file once per round, in the channel's order. A file that is added plays in the current round if its
place is still to come (shuffled: at the round's end), else in the next. Without `loop` there is one round, which added files
extend. Files that fail in succession are left out until something was played, or until `retry`.

The order "hot" plays by name and repeats favoured files in between: the first one after every HOT_GAP others, the second
after twice as many, and so on.
"""

from collections.abc import Iterable
from random import Random

from livekeep.air.storage.media import MediaFile, ordered

HOT_GAP = 4


class Playlist:
    def __init__(self, order: str, loop: bool, random: Random) -> None:
        self._order, self._loop, self._random = order, loop, random
        self._files: dict[str, MediaFile] = {}
        self._left: list[MediaFile] = []
        """The files still to come in this round, in order."""
        self._taken: MediaFile | None = None
        """The last one taken in this round."""
        self._ended_with: tuple[str, ...] = ()
        """The name at the end of the previous round."""
        self._failed: set[str] = set()
        """Files that failed since something was last played."""
        self._others: dict[str, int] = {}
        """For each favoured file, in order, how many others were taken since it last was."""
        self._newest = ""
        """The last one taken."""

    def __len__(self) -> int:
        return len(self._files)

    def file(self, name: str) -> MediaFile | None:
        """The file as last listed."""
        return self._files.get(name)

    @property
    def has_failed(self) -> bool:
        """Whether there are files for `retry` to bring back."""
        return bool(self._failed)

    def update(self, files: Iterable[MediaFile]) -> None:
        """Apply a new listing."""
        before, self._files = self._files, {file.name: file for file in files}
        if self._files == before:
            return
        changed = {name for name, file in self._files.items() if before.get(name) != file}
        # A file that was rewritten may be fixed.
        self._failed = (self._failed & self._files.keys()) - changed
        joined = [file for name, file in self._files.items() if name not in before]
        staying = [self._files[file.name] for file in self._left if file.name in self._files]
        if self._order == "shuffle":
            self._left = staying + self._shuffled(joined)
        else:
            self._left = self._sorted([*staying, *(file for file in joined if self._is_to_come(file))])

    def favour(self, names: Iterable[str]) -> None:
        """Repeat these files more often, the first one most of all."""
        self._others = {name: self._others.get(name, 0) for name in names}

    def peek(self) -> MediaFile | None:
        """The file that `next` will return."""
        following = self._next_of_round()
        return (self._due() or following) if following else None

    def next(self) -> MediaFile | None:
        """Take the next file; None if there is none to play now."""
        turn = self._next_of_round()
        if turn is None:
            return None
        file = self._due() or turn
        # A repeated file leaves the round unchanged.
        if file is turn:
            del self._left[: self._left.index(file) + 1]
            self._taken = file
        self._newest = file.name
        self._others = {name: 0 if name == file.name else count + 1 for name, count in self._others.items()}
        return file

    def played(self) -> None:
        """Something was played, if only in part: files that failed before are retried when their turn comes."""
        self._failed.clear()

    def failed(self, name: str) -> None:
        """The file could not be played. When each known file has failed and none was played since, `next` returns None."""
        if name in self._files:
            self._failed.add(name)

    def retry(self) -> None:
        """Retry failed files: after a while, or when the storage works again."""
        again = [self._files[name] for name in self._failed]
        self._failed.clear()
        if not self._loop:
            # No later round would play them.
            left = {file.name for file in self._left}
            again = [file for file in again if file.name not in left]
            shuffled = self._order == "shuffle"
            self._left = self._left + self._shuffled(again) if shuffled else self._sorted([*self._left, *again])

    def _next_of_round(self) -> MediaFile | None:
        file = self._first_left()
        if file or not self._loop:
            return file
        if not self._files.keys() - self._failed:
            return None
        if self._taken:
            self._ended_with = (self._taken.name,)
        self._taken = None
        self._left = list(ordered(self._files.values(), self._order, self._ended_with, self._random))
        return self._first_left()

    def _due(self) -> MediaFile | None:
        """The first favoured file that has waited for enough others."""
        for rank, (name, others) in enumerate(self._others.items(), 1):
            if others >= HOT_GAP * rank and name != self._newest and name in self._files and name not in self._failed:
                return self._files[name]
        return None

    def _first_left(self) -> MediaFile | None:
        return next((file for file in self._left if file.name not in self._failed), None)

    def _is_to_come(self, file: MediaFile) -> bool:
        """Whether the place of an added file is still to come; always true without another round, so that no file is skipped."""
        if not self._loop or not self._taken:
            return True
        return self._sorted([self._taken, file])[0] is self._taken

    def _sorted(self, files: list[MediaFile]) -> list[MediaFile]:
        return list(ordered(files, self._order, (), self._random))

    def _shuffled(self, files: list[MediaFile]) -> list[MediaFile]:
        last = self._left[-1:] or ([self._taken] if self._taken else [])
        previous = tuple(file.name for file in last) or self._ended_with
        return list(ordered(files, "shuffle", previous, self._random))
