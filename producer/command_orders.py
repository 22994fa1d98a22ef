"""Does: what a person may ask of replicas through their producer, as verbs of the control socket. Carried out between two rounds.

`prove-begin` asks replicas to show their digest, `scrub-begin` to read their disks again: those with these `names` (none: all)
that `select` picks. Both tell a `ticket`. `prove-look` and `scrub-look` with that ticket, again and again: `is_done`, `seconds`,
and of each replica a `word` and what belongs to it.
"""

import time
from collections.abc import Callable
from typing import Any

from common.errors import SettingError, StoppedError
from common.labels import parse_selector
from common.messages import CommandVerb
from common.orders import Verb
from producer.commanding import PROVE_SECONDS, Asked, position_told
from producer.fleet_view import FleetView
from producer.pipeline import Pipeline


def command_handlers(pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> dict[str, Verb]:
    """The verbs. `clock`: that of the loop."""

    def begun(verb: CommandVerb, arguments: dict[str, Any]) -> dict[str, Any]:
        if not pipeline.leading.is_live:
            raise StoppedError("this producer does not lead, or has not announced its epoch: no replica would heed it")
        now = clock()
        return {"ticket": pipeline.commanding.begin(verb, _wanted(pipeline.members.view(now), arguments), now)}

    def looked(told: Callable[[Asked, FleetView, float], dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        ticket, now = str(arguments["ticket"]), clock()
        view = pipeline.members.view(now)
        asked = pipeline.commanding.look(ticket, view, now)
        if asked is None:
            raise SettingError("ticket", ticket, "one of this process: it was started again; ask again")
        return {"is_done": asked.is_over(now), "seconds": round(now - asked.at, 3), "replicas": told(asked, view, now)}

    return {
        "prove-begin": lambda arguments: begun(CommandVerb.PROVE, arguments),
        "prove-look": lambda arguments: looked(_proofs, arguments),
        "scrub-begin": lambda arguments: begun(CommandVerb.SCRUB, arguments),
        "scrub-look": lambda arguments: looked(_scrubs, arguments),
    }


def _wanted(view: FleetView, arguments: dict[str, Any]) -> FleetView:
    picked = view.selected(parse_selector(str(arguments.get("select") or ""), "-l"))
    names = arguments.get("names")
    if names is None:
        return picked
    if unknown := sorted(set(map(str, names)) - {one.name for one in view.replicas}):
        raise SettingError("ID", unknown[0], "a replica of this fleet; see: treecast replica list")
    return picked.named(map(str, names))


def _proofs(asked: Asked, view: FleetView, now: float) -> dict[str, Any]:
    return {name: _proof(asked, name, view, now) for name in asked.names}


def _proof(asked: Asked, name: str, view: FleetView, now: float) -> dict[str, Any]:
    if name in asked.proofs:
        proof, seconds = asked.proofs[name]
        return {
            "word": str(proof.word), "position": position_told(proof.position), "why": proof.why, "seconds": round(seconds, 3),
        }  # fmt: skip
    if name in asked.silent:
        return {"word": "gone", "heard": next((one.since for one in view.replicas if one.name == name), 0.0)}
    return {"word": "silent" if now - asked.at >= PROVE_SECONDS else "asked"}


def _scrubs(asked: Asked, view: FleetView, now: float) -> dict[str, Any]:
    heard = {one.name: one.since for one in view.replicas}
    return {
        name: {
            "word": str(seen.word), "run": seen.run, "state": seen.state, "ratio": round(seen.ratio, 4),
            "repaired": seen.repaired, "problems": seen.problems, "findings": dict(seen.findings),
            "heard": heard.get(name, 0.0), **seen.result,
        }
        for name, seen in asked.scrubs.items()
    }  # fmt: skip
