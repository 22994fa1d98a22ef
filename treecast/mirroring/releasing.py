"""Does: lets what the processes of a mirror hold go, where the person who typed the command said so."""

from collections.abc import Sequence

from treecast.mirroring.child import Child
from treecast.mirroring.processes import Processes
from treecast.mirroring.standing import Look

PATHS_SHOWN = 10


class Releasing:
    """`is_wanted`: what is held when the run begins is let go, until the first time that nothing is left to do."""

    def __init__(self, processes: Processes, *, is_wanted: bool) -> None:
        self._processes = processes
        self._is_wanted = is_wanted

    def release_producer(self, look: Look) -> bool:
        """Whether the producer held something, and was told to let it go. Idempotent: ask until it holds nothing."""
        return self._release(self._processes.producer, look)

    def release_replicas(self, looks: Sequence[Look]) -> None:
        """The same for the replicas."""
        for child, look in zip(self._processes.consumers, looks, strict=True):
            self._release(child, look)

    def see(self, producer: Look, replicas: Sequence[Look]) -> None:
        """Let go what is held, while a mirror that follows is not level yet."""
        held = self.release_producer(producer)
        self.release_replicas(replicas)
        if not held and producer.is_quiet and all(look.is_agreed for look in replicas):
            self._is_wanted = False

    def _release(self, child: Child, look: Look) -> bool:
        if not self._is_wanted or not look.is_held_back:
            return False
        child.ask("hold-release")
        return True


def held_paths(processes: Processes, look: Look) -> tuple[str, ...]:
    """The first paths that the producer holds, escaped."""
    told = processes.producer.ask("hold-show", number=PATHS_SHOWN) if look.held else None
    return tuple((told or {}).get("paths", ()))
