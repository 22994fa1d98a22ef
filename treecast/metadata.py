"""Decides what of the metadata a mirror carries, and a comparison looks at. Knows no disk and no user database."""

from dataclasses import dataclass
from typing import NamedTuple

from producer.carrying import Carrying, Symlinks

MODE_MASK = 0o777


class Shown(NamedTuple):
    """What a path of a replica must have; None where it may have any."""

    mode: int
    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """The settings, judged. The defaults are those of the services."""

    symlinks: Symlinks = "all"
    owner: str = "off"
    dir_mode: int | None = None
    file_mode: int | None = None
    group: int | None = None

    @property
    def for_producer(self) -> dict[str, str]:
        """As a producer is told it: setting to text."""
        return {"symlinks": self.symlinks, "owner": self.owner}

    @property
    def for_consumer(self) -> dict[str, str]:
        """As a consumer is told it. What is not told stays the master's, or the consumer's own."""
        modes = {"dir_mode": self.dir_mode, "file_mode": self.file_mode}
        told = {name: f"{mode:03o}" for name, mode in modes.items() if mode is not None}
        return {"owner": self.owner, **told, **({} if self.group is None else {"group": str(self.group)})}

    def why_not(self, path: bytes, target: bytes) -> str | None:
        """Why a symlink of the source is not carried, as `producer.carrying` has it; None: it is."""
        return Carrying(self.symlinks).why_not(path, target)

    def expected(self, mode: int, uid: int, gid: int, *, is_directory: bool) -> Shown:
        """What the copy of a path must have. Modes of symlinks mean nothing."""
        told = self.dir_mode if is_directory else self.file_mode
        mode = mode & MODE_MASK if told is None else told
        if self.owner == "off":
            return Shown(mode, None, self.group)
        return Shown(mode, uid, gid if self.group is None else self.group)


AS_BY_DEFAULT = Metadata()
