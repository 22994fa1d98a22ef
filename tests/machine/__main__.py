"""Runs stories from a shell: many of them for a survey, or one to see what happens in it.

python -m tests.machine --seeds 1000 --first 0          how many of 1,000 break a law, and which
python -m tests.machine --seed 17                       tells one, act by act
python -m tests.machine --seed 17 --shorten             the fewest of its acts that still break a law
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from tests.machine.acts import perform
from tests.machine.calm import calm
from tests.machine.process import installed
from tests.machine.storms import Story, shorten, story_of, tell
from tests.machine.themes import THEMES, themes_of
from tests.machine.world import World


def main() -> int:
    """0 when every law held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many stories")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    parser.add_argument("--seed", type=int, help="one story")
    parser.add_argument("--theme", choices=sorted(THEMES), help="only stories with this theme")
    parser.add_argument("--shorten", action="store_true", help="leave out acts as long as a law still breaks")
    arguments = parser.parse_args()
    with installed():
        if arguments.seed is None:
            seeds = range(arguments.first, arguments.first + arguments.seeds)
            return _survey([seed for seed in seeds if arguments.theme in (None, *themes_of(seed))])
        story = story_of(arguments.seed)
        if arguments.shorten:
            story = shorten(story)
        return _tell(story)


def _survey(seeds: Sequence[int]) -> int:
    began, broken, count = time.monotonic(), 0, Counter[str]()
    for seed in seeds:
        found = tell(story_of(seed), count)
        if found is not None:
            broken += 1
            print(f"seed {seed}, act {found.place}: {found.what}", flush=True)
    seconds = time.monotonic() - began
    print(f"{broken} of {len(seeds)} break a law; {len(seeds) / seconds:.1f} a second", flush=True)
    print("\n".join(f"{number:9d}  {what}" for what, number in sorted(count.items())))
    return int(broken > 0)


def _tell(story: Story) -> int:
    print(story.setting)
    world = World(story.setting)
    try:
        if story.begins_level:
            calm(world)
        for place, (what, luck) in enumerate(story.acts):
            print(f"{place:4d}  {what}  {luck}")
            perform(world, what, luck)
        print("      calm")
        calm(world)
    except Exception:  # noqa: BLE001 - shown as it is
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
