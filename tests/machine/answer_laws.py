"""A law of answers: what a producer says of its index takes nothing back.

A journal may be older than what was published: it was copied, or restored, and no replica that knows better was heard. Its index
is told to nobody before it was compared with the source.
"""

from collections.abc import Collection

from tests.machine.reference import Published, Spot, check, is_below
from tests.machine.rules import excludes
from tests.machine.wire import OF_THE_INDEX, Read


def check_answer(published: Published, told: Read, untold: Collection[bytes]) -> None:
    """What was published, and is the master's without a break since, is not said to be another, nor to be absent.

    What a lower epoch published once this one was announced is fenced: who answers cannot know of it.

    `untold`: paths of which the producer says that it can carry nothing there or below."""
    spot = Spot(told.epoch, told.at, told.instance)
    if told.kind not in OF_THE_INDEX or spot not in published.history:
        return
    tree, rules, master = published.history[spot], published.rules[spot], published.master
    began = published.announced[spot.epoch, spot.instance]
    for path, node in master.tree.items():
        if tree.get(path) == node or excludes(rules, path, node[0] == "d"):
            continue
        if any(path == one or is_below(path, one) for one in untold):
            continue
        was = [
            other
            for other, looks in published.told.get(path, ())
            if other < spot
            and (other.epoch == spot.epoch or looks <= began)
            and looks >= master.same_since[path]
            and published.history[other].get(path) == node
        ]
        check(not was, f"{path!r} is what was published at {was[:1]}, and an answer at {spot} takes it back")
