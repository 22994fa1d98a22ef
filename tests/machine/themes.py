"""What happens in some stories only, and then often: each theme has its acts, which are strewn into a story.

A story without a theme is the same whatever themes there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from tests.machine.acts import TO_A_REPLICA, know
from tests.machine.acts_commands import COMMANDS
from tests.machine.acts_faults import FAULTS
from tests.machine.acts_holds import HOLDS
from tests.machine.acts_large import LARGE
from tests.machine.acts_patterns import MORE_PATHS, PATTERNS, RULES
from tests.machine.acts_power import POWER
from tests.machine.acts_producers import RIVALS
from tests.machine.setting import REPLICAS, Setting

Happening = Callable[..., None]
Told = tuple[str, int]

THEMES: dict[str, dict[Happening, float]] = {
    "holds": HOLDS,
    "large contents": LARGE,
    "two producers": RIVALS,
    "power": POWER,
    "faults": FAULTS,
    "patterns": PATTERNS,
    "commands": COMMANDS,
}
"""How often each act of a theme happens, beside the others of it."""
HOLD_LIMITS = ((1, None), (3, None), (None, 0), (None, 2), (1, 0), (3, 2))
"""How many deletes are not too many, at the producer and at a replica; None: any."""
READY_MAX_LAG_SECONDS = 1.0
SHARE = 0.4
"""So many acts more a theme brings, for each of a story's."""

for _theme in THEMES.values():
    know(_theme)


def themes_of(seed: int) -> list[str]:
    """Those of a story: none, or up to three."""
    rng = Random(f"themes {seed}")
    return sorted(rng.sample(sorted(THEMES), k=rng.choice([0, 0, 1, 1, 1, 2, 3])))


def fitted(setting: Setting, themes: Sequence[str], seed: int) -> Setting:
    """With what the themes need."""
    rng = Random(f"fitted {seed}")
    if "holds" in themes:
        master, replica = rng.choice(HOLD_LIMITS)
        setting = replace(setting, hold_paths=master, replica_hold_paths=replica)
    if "patterns" in themes:
        setting = replace(
            setting,
            more_paths=tuple(MORE_PATHS),
            protect={name: rng.choice([(), (), *RULES]) for name in setting.replicas},
            foreign={name: rng.choice(["aside", "aside", "delete", "keep"]) for name in setting.replicas},
        )
    if "commands" in themes:
        setting = replace(setting, ready_max_lag_seconds=READY_MAX_LAG_SECONDS)
    return setting


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
