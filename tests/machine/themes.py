"""What happens in some stories only, and then often: each theme has its acts, which are strewn into a story.

A story without a theme is the same whatever themes there are.
"""

from collections.abc import Callable, Sequence
from random import Random

from tests.machine.acts import TO_A_REPLICA, know
from tests.machine.acts_producers import RIVALS
from tests.machine.world import REPLICAS

Happening = Callable[..., None]
Told = tuple[str, int]

THEMES: dict[str, dict[Happening, float]] = {
    "two producers": RIVALS,
}
"""How often each act of a theme happens, beside the others of it."""
SHARE = 0.4
"""So many acts more a theme brings, for each of a story's."""

for _theme in THEMES.values():
    know(_theme)


def themes_of(seed: int) -> list[str]:
    """Those of a story: none in each second."""
    rng = Random(f"themes {seed}")
    return sorted(rng.sample(sorted(THEMES), k=min(len(THEMES), rng.choice([0, 0, 1, 1, 1, 2]))))


def strewn(acts: Sequence[Told], themes: Sequence[str], seed: int) -> tuple[Told, ...]:
    """The acts, and those of the themes among them."""
    rng, told = Random(f"strewn {seed}"), list(acts)
    for theme in themes:
        names, odds = [], []
        for what, weight in THEMES[theme].items():
            each = (
                [f"{what.__name__} {name}" for name in REPLICAS] if what.__name__ in TO_A_REPLICA else [what.__name__]
            )
            names += each
            odds += [weight * rng.choice([0.3, 1, 3])] * len(each)
        for name in rng.choices(names, odds, k=int(len(acts) * SHARE) + 3):
            told.insert(rng.randrange(len(told) + 1), (name, rng.randrange(1 << 32)))
    return tuple(told)
