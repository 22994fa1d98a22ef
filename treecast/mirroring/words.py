"""Decides how a mirror's progress and results read, for people and for programs. Values in, texts out."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.entries import Position
from common.names import escape
from treecast.mirroring.layout import Layout, ReplicaPlace
from treecast.mirroring.once import ReplicaResult, Result
from treecast.mirroring.preview import Act, Planned
from treecast.mirroring.standing import Level, Look
from treecast.status_page import pace_words, problem_words

PROBLEMS_SHOWN = 20
LAG_FROM_SECONDS = 0.1
RATE_FROM_CHANGES = 100
"""Of fewer the rate would be that of starting the processes."""


def shown_path(given: str | Path) -> str:
    """A path as it was typed, on one printable line."""
    return escape(os.fsencode(given))


def counted(count: int, one: str, many: str = "") -> str:
    """ "1 path", "2 paths"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


# -- while it runs


def producer_words(look: Look) -> str:
    """What the source is about."""
    if look.state == "starting":
        return "starting"
    if not look.is_all_found:
        return f"looking at the source: {counted(look.entries, 'path')} so far"
    waiting = f", {counted(look.dirty, 'path')} to look at" if look.dirty else ""
    change = f" at change {look.position.sequence:,}" if look.position.sequence else ""
    held = f", {counted(look.held, 'delete')} held" if look.held else ""
    return f"{counted(look.entries, 'path')}{change}{waiting}{held}"


def replica_words(look: Look, total: int) -> str:
    """What a replica is about. `total`: how many paths the source has."""
    if look.state == "halted":
        return "halted"
    if look.is_agreed:
        return f"level, {counted(look.files, 'file')}"
    if not look.stale_buckets and set(look.unmet) == {"problem"}:
        return f"level but for {counted(look.unmet['problem'], 'problem')}, {counted(look.files, 'file')}"
    if look.held and not look.stale_buckets and not look.unmet.get("body"):
        return f"level but for {counted(look.held, 'held delete')}, {counted(look.files, 'file')}"
    if look.state == "scanning":
        return "comparing what is there"
    if not look.position.epoch:
        return "starting"
    return ", ".join([f"copying, {look.shown:,} of {max(total, look.shown):,}", *pace_words(look.sync)])


def share_done(look: Look, total: int) -> float:
    """How much of a replica is as it should be, 0 to 1."""
    if look.is_agreed:
        return 1.0
    return min(look.level_share, look.shown / total) if total else 0.0


# -- what came of it


def summary_lines(layout: Layout, result: Result, kept: dict[str, Path], release_command: str) -> Iterator[str]:
    """The summary of a run. `kept`: by replica name, where things that were set aside stay. `release_command`: what lets go
    what is held."""
    for one in result.replicas:
        yield f"{shown_path(one.place.given)}: {_result_words(one)}"
        yield from _problem_lines(one.look)
        if one.place.name in kept:
            yield f"  set aside, kept for 7 days at least: {shown_path(kept[one.place.name])}"
    if result.producer.problem_count:
        yield f"{shown_path(layout.given)}: {counted(result.producer.problem_count, 'path')} could not be carried"
        yield from _problem_lines(result.producer)
    yield from _held_lines(layout, result, release_command)
    yield _verdict(layout, result)


def _held_lines(layout: Layout, result: Result, release_command: str) -> Iterator[str]:
    producer = result.producer
    if producer.held:
        yield f"{shown_path(layout.given)}: {counted(producer.held, 'delete')} held, which no replica was told of"
        yield from (f"  held: {path}" for path in result.held_paths)
        if producer.held > len(result.held_paths):
            yield f"  and {producer.held - len(result.held_paths):,} more"
    for one in result.replicas:
        if one.look.held:
            yield f"{shown_path(one.place.given)}: {counted(one.look.held, 'delete')} held there"
    if producer.held or any(one.look.held for one in result.replicas):
        yield f"Too many at once to be taken for meant. Bring the files back, or let them go: {release_command}"


def _result_words(one: ReplicaResult) -> str:
    if one.failure:
        return f"FAILED: {one.failure}"
    word = "level" if one.level is Level.PROVED else str(one.level.value)
    rate = f", {one.look.applied / one.seconds:,.0f} changes/s" if one.look.applied >= RATE_FROM_CHANGES else ""
    how = f"brought level in {one.seconds:.1f} s{rate}" if one.look.applied else "it was level already"
    others = one.look.entries - one.look.files
    more = f" and {counted(others, 'other path')}" if others else ""
    return f"{word} with {counted(one.look.files, 'file')}{more}; {how}"


def _problem_lines(look: Look) -> Iterator[str]:
    for path, why in look.problems[:PROBLEMS_SHOWN]:
        yield f"  problem at {path}: {problem_words(path, why)}"
    if look.problem_count > PROBLEMS_SHOWN:
        yield f"  and {look.problem_count - PROBLEMS_SHOWN:,} more"


def _verdict(layout: Layout, result: Result) -> str:
    level = sum(one.level is Level.PROVED and not one.failure for one in result.replicas)
    of = f"{level} of {counted(len(result.replicas), 'replica')} {'holds' if level == 1 else 'hold'}"
    but = " and can be carried" if result.producer.problem_count else ""
    but += ", with what is held," if result.producer.held else ""
    has = f"has{but}" if result.producer.is_quiet else f"had{but} a moment ago, and it keeps changing"
    paths = counted(result.producer.entries, "path")
    return (
        f"{of} exactly what {shown_path(layout.given)} {has} ({paths}), proved by digests, after {result.seconds:.1f} s"
    )


def result_json(layout: Layout, result: Result, kept: dict[str, Path]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "source": shown_path(layout.source),
        "position": _position(result.position),
        "paths": result.producer.entries,
        "problems": problems_json(result.producer),
        "problem_count": result.producer.problem_count,
        "held": result.producer.held,
        "held_paths": list(result.held_paths),
        "seconds": round(result.seconds, 3),
        "exit_code": result.exit_code,
        "replicas": [
            {
                "replica": shown_path(one.place.target),
                "level": one.level is Level.PROVED and not one.failure,
                "paths": one.look.entries,
                "files": one.look.files,
                "changes": one.look.applied,
                "seconds": round(one.seconds, 3),
                "problems": problems_json(one.look),
                "problem_count": one.look.problem_count,
                "held": one.look.held,
                "aside": shown_path(kept[one.place.name]) if one.place.name in kept else None,
                "failure": one.failure or None,
            }
            for one in result.replicas
        ],
    }


def problems_json(look: Look) -> list[dict[str, str]]:
    """Path and reason of each problem that was told."""
    return [{"path": path, "problem": why} for path, why in look.problems]


# -- what would be done


def totals_words(acts: Sequence[Planned]) -> str:
    """How many of each, for a person."""
    totals = Counter(one.act for one in acts)
    problems = f"; {counted(totals[Act.PROBLEM], 'problem')}" if totals[Act.PROBLEM] else ""
    if not acts:
        return "nothing to do, it is equal"
    return f"{', '.join(f'{totals[act]:,} {words}' for act, words in _TO_DO.items())}{problems} (nothing was changed)"


_TO_DO = {Act.CREATE: "to create", Act.MODIFY: "to modify", Act.DELETE: "to delete", Act.ASIDE: "to set aside"}


def preview_json(place: ReplicaPlace, acts: Sequence[Planned], refusal: str) -> dict[str, Any]:
    """The same for programs. `refusal`: why a run would not do it, "" if it would."""
    totals = Counter(one.act for one in acts)
    return {
        "replica": shown_path(place.target),
        "paths": [{"act": one.act.value, "path": escape(one.path), "why": one.why or None} for one in acts],
        "totals": {act.value: totals[act] for act in Act},
        "refusal": refusal or None,
    }


# -- while it follows


def following_words(
    layout: Layout, producer: Look, replicas: Sequence[Look], lags: Sequence[float], ended: Sequence[str]
) -> str:
    """Everything on one line."""
    parts = [
        f"{_label(place)} {f'ended ({why})' if why else _following_one(look, producer.entries, lag)}"
        for place, look, lag, why in zip(layout.replicas, replicas, lags, ended, strict=True)
    ]
    return f"source {producer_words(producer)}; " + "; ".join(parts)


def _label(place: ReplicaPlace) -> str:
    return shown_path(place.given)


def _following_one(look: Look, total: int, lag: float) -> str:
    words = replica_words(look, total)
    late = f", {lag:.1f} s behind" if lag >= LAG_FROM_SECONDS else ""
    problems = f", {counted(look.problem_count, 'problem')}" if look.problem_count else ""
    return f"{words}{late}{problems}"


def following_json(
    layout: Layout,
    producer: Look,
    replicas: Sequence[tuple[Look, float, float, str]],
) -> dict[str, Any]:
    """The same for programs. `replicas`: look, lag in seconds, rate in paths per second, why it ended."""
    return {
        "source": {
            "path": shown_path(layout.source),
            "quiet": producer.is_quiet,
            "dirty": producer.dirty,
            **_told(producer),
        },
        "replicas": [
            {
                "replica": shown_path(place.target),
                "agreed": look.is_agreed,
                "lag_seconds": round(lag, 3),
                "rate": round(rate, 1),
                "files": look.files,
                "stale_buckets": look.stale_buckets,
                "sync": dict(look.sync) or None,
                "ended": why or None,
                **_told(look),
            }
            for place, (look, lag, rate, why) in zip(layout.replicas, replicas, strict=True)
        ],
    }


def _told(look: Look) -> dict[str, Any]:
    return {
        "state": look.state,
        "position": _position(look.position),
        "paths": look.entries,
        "problems": problems_json(look),
        "problem_count": look.problem_count,
        "held": look.held,
        "alarms": dict(look.alarms),
    }


def _position(position: Position) -> dict[str, int]:
    return {"epoch": position.epoch, "sequence": position.sequence}
