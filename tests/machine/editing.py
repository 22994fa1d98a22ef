"""One random edit of a tree, as people and programs make them."""

from dataclasses import dataclass
from random import Random

from tests.machine.disk import DIRECTORY, FILE, SYMLINK, tree_below
from tests.machine.hands import Hand
from tests.machine.laws import STAGE
from tests.machine.reference import parents

DIRECTORY_MODES = (0o755, 0o755, 0o750, 0o700, 0o555)
FILE_MODES = (0o644, 0o644, 0o600, 0o444, 0o200, 0o755)


@dataclass(frozen=True)
class Editor:
    """Takes every choice from `rng`."""

    rng: Random

    def edit(self, hand: Hand, paths: list[bytes], content: bytes) -> list[bytes]:
        """One random edit; the paths where something happened."""
        rng = self.rng
        there = sorted(tree_below(hand.top, but=(STAGE,)))
        path, other, dice = rng.choice(paths), rng.choice(paths), rng.random()
        if dice < 0.45 and there:
            path = rng.choice(there)
        if dice < 0.2:
            hand.remove(path)
        elif dice < 0.27:
            found = hand.find(path)
            # A directory that not even its owner may enter: the scrub of one who is not root cannot look into it, and says so.
            modes = DIRECTORY_MODES if found is not None and found.kind == DIRECTORY else FILE_MODES
            hand.set(path, mode=rng.choice(modes))
        elif dice < 0.31:
            hand.set(path, mtime_ns=rng.randrange(-(10**18), 10**18))
        elif dice < 0.38:
            hand.rename(path, other)
        elif dice < 0.45:
            hand.write(path, b"" if rng.random() < 0.3 else content)
        else:
            return [*self._make_above(hand, path), *self._put(hand, path, content)]
        return [path, other]

    def _make_above(self, hand: Hand, path: bytes) -> list[bytes]:
        made = [above for above in parents(path) if (there := hand.find(above)) is None or there.kind != DIRECTORY]
        for above in made:
            hand.put(above, DIRECTORY, self.rng.choice(DIRECTORY_MODES))
        return made

    def _put(self, hand: Hand, path: bytes, content: bytes) -> list[bytes]:
        dice = self.rng.random()
        if dice < 0.3:
            hand.put(path, DIRECTORY, self.rng.choice(DIRECTORY_MODES))
        elif dice < 0.45:
            targets = [b"a", b"/outside", b"/outside/secret", b"nowhere", content]
            hand.put(path, SYMLINK, 0o777, self.rng.choice(targets))
        else:
            body = b"again" if self.rng.random() < 0.2 else content * self.rng.choice([1, 1, 9, 700])
            hand.put(path, FILE, self.rng.choice(FILE_MODES), body)
        return [path]
