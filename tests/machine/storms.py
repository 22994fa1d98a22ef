"""Stories: lists of acts drawn from a seed, told, shortened, and told again.

`python -m tests.machine --help` runs them from a shell.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.machine.acts import ALWAYS, CHAOS, TO_A_REPLICA, perform
from tests.machine.calm import calm
from tests.machine.reference import LawBroken
from tests.machine.setting import REPLICAS, Setting
from tests.machine.themes import fitted, strewn, themes_of
from tests.machine.world import World

Told = tuple[str, int]
"""One act of a story: what happens, and the luck that all its choices follow from."""
LENGTHS = (15, 40, 60, 120)


@dataclass(frozen=True)
class Story:
    """A setting and what happens in it."""

    setting: Setting
    acts: tuple[Told, ...]
    begins_level: bool = False


@dataclass(frozen=True)
class Break:
    """A law that did not hold: in which act (the last: the calm), and what."""

    place: int
    what: str


def story_of(seed: int) -> Story:
    """The story that a seed stands for."""
    rng = Random(f"story {seed}")
    setting = Setting(
        broker=rng.choice(["rabbit", "rabbit", "embedded"]),
        watches=rng.random() < 0.8,
        interleaves=rng.random() < 0.5,
        is_root_user=rng.random() < 0.6,
        lateness=rng.choice([0.0, 0.2, 0.7]),
        log_rows=rng.choice([6, 30, 1000]),
        umask=rng.choice([0o022, 0o022, 0o027, 0o000]),
        seed=rng.randrange(1 << 32),
    )
    # Not everything in every story: where one thing happens often and another never, more comes to light.
    chaos = rng.choice([0.5, 1.0, 2.0])
    weights = {what: weight * rng.choice([0.5, 1, 2]) for what, weight in ALWAYS.items()}
    weights |= {what: weight * chaos * rng.choice([0, 0, 0.5, 1, 5]) for what, weight in CHAOS.items()}
    names, odds = [], []
    for what, weight in weights.items():
        each = [f"{what.__name__} {name}" for name in REPLICAS] if what.__name__ in TO_A_REPLICA else [what.__name__]
        names += each
        odds += [weight] * len(each)
    whats = rng.choices(names, odds, k=rng.choice(LENGTHS))
    acts = tuple((what, rng.randrange(1 << 32)) for what in whats)
    themes = themes_of(seed)
    return Story(fitted(setting, themes, seed), strewn(acts, themes, seed), begins_level=rng.random() < 0.7)


def tell(story: Story, count: Counter[str] | None = None) -> Break | None:
    """Let it happen. None when every law held."""
    place = 0
    try:
        world = World(story.setting, count if count is not None else Counter())
        if story.begins_level:
            calm(world)
        for place, (what, luck) in enumerate(story.acts):  # noqa: B007 - said in the Break
            perform(world, what, luck)
        place = len(story.acts)
        calm(world)
    except LawBroken as broken:
        return Break(place, str(broken))
    except Exception as error:  # noqa: BLE001 - whatever else stops the product is a break too
        return Break(place, f"{type(error).__name__}: {error}")
    return None


def survey(seeds: Iterable[int], enough: int | None = None) -> tuple[int, dict[int, Break], Counter[str]]:
    """Tell the stories of these seeds: how many were told, which broke, and what happened in them."""
    told, broken, count = 0, dict[int, Break](), Counter[str]()
    for seed in seeds:
        told += 1
        found = tell(story_of(seed), count)
        if found is not None:
            broken[seed] = found
            if len(broken) == enough:
                break
    return told, broken, count


def _kind_of(found: Break | None) -> str:
    """What a break is about, whatever path or number it names; "" for none."""
    return "" if found is None else re.sub(r"b'[^']*'|b\"[^\"]*\"|[\d(),]+", "", found.what)[:60]


def shorten(story: Story, seconds: float = 60.0) -> Story:
    """A story with fewer acts that breaks the law in the same way: acts are left out in ever smaller runs."""
    until, kind = time.monotonic() + seconds, _kind_of(tell(story))
    acts: Sequence[Told] = story.acts
    size = len(acts) // 2
    while size and time.monotonic() < until:
        place = 0
        while place < len(acts) and time.monotonic() < until:
            fewer = [*acts[:place], *acts[place + size :]]
            if _kind_of(tell(replace(story, acts=tuple(fewer)))) == kind:
                acts = fewer
            else:
                place += size
        size //= 2
    return replace(story, acts=tuple(acts))
