"""Patterns that change, and what they protect."""

from collections.abc import Callable

from tests.machine.hands import Hand
from tests.machine.laws import Observed
from tests.machine.rules import Rules
from tests.machine.world import World

RULES: tuple[Rules, ...] = (
    (),
    ("x",),
    ("x/",),
    ("*.tmp",),
    ("/a",),
    ("b/", "*.tmp"),
    ("p", "!q"),
    ("x", "!x/"),
    ("*", "!a", "!b", "!x"),
    ("d/", "c"),
)
"""What a story may exclude, or protect on one replica."""
MORE_PATHS = [b"x", b"a/t.tmp", b"b/x/t.tmp", b"c/x"]


def change_patterns(world: World) -> None:
    """The master's patterns change: its producer is started with others."""
    rules = world.rng.choice(RULES)
    world.rules.add(rules)
    for producer in world.producers:
        producer.end()
        producer.patterns = rules
    world.count["patterns changed"] += 1


def change_protect(world: World, replica: Observed) -> None:
    """A replica protects other paths from now on: it is started anew."""
    replica.process.end()
    replica.seen = replica.disk()
    replica.protect(world.rng.choice(RULES))


def edit_protected(world: World, replica: Observed) -> None:
    """Somebody edits what is protected on a replica."""
    hand = Hand(replica.process.disk, replica.process.target)
    before = replica.disk()
    world.editor.edit(
        hand, [path for path in world.paths if replica.nobodys.guards(path, None)] or MORE_PATHS, b"theirs"
    )
    after = replica.disk()
    replica.note_edited({path for path in before.keys() | after.keys() if before.get(path) != after.get(path)})
    replica.seen = after


PATTERNS: dict[Callable[..., None], float] = {change_patterns: 1.5, change_protect: 0.4, edit_protected: 1.5}
