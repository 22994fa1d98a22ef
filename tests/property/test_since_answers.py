"""An answer to a since question leads from the tree at its base to the tree at the position it states; each rule is needed."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from common.digests import rows_digest
from common.messages import AskSince, Question, Since, TooOld
from producer import changed, changelog, since
from producer.journal import Journal
from tests.logged_journal import LoggedJournal, Tree, file, reading

paths = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
commits = st.lists(st.tuples(paths, st.one_of(st.none(), st.sampled_from("123"))), min_size=1, max_size=4)
acts = st.one_of(commits, commits, commits, commits, st.sampled_from(["epoch", "crash"]))


@contextmanager
def _journal(limit: int) -> Iterator[LoggedJournal]:
    with tempfile.TemporaryDirectory() as base:
        logged = LoggedJournal(Path(base) / "journal.db", log_limit_rows=limit)
        logged.journal._database.execute("PRAGMA synchronous = OFF")
        try:
            yield logged
        finally:
            logged.journal.close()


def _act(logged: LoggedJournal, act: Any) -> None:
    if act == "epoch":
        logged.begin_epoch()
    elif act == "crash":
        logged.crash()
    else:
        tree = logged.tree
        new = {path: file(text) if text is not None else None for path, text in act}
        if changes := [(path, entry) for path, entry in new.items() if tree.get(path) != entry]:
            logged.commit(*changes)


def _check(logged: LoggedJournal) -> None:
    """Ask for every position of this epoch that a replica may be at; the log knows nothing of before it."""
    epoch, at = logged.journal.stand.position
    first = min(base for its_epoch, base in logged.trees if its_epoch == epoch)
    for its_epoch, base in logged.trees:
        if its_epoch == epoch:
            _check_answer(logged, base, logged.trees[epoch, base], logged.trees[epoch, at])
        elif base < first:
            assert isinstance(logged.journal.changed_since(base), changed.OutOfReach)


def _check_answer(logged: LoggedJournal, base: int, before: Tree, after: Tree) -> None:
    stand = logged.journal.stand
    found = logged.journal.changed_since(base)
    assert not isinstance(found, changed.Ahead)
    question = Question("music", stand.lineage.epoch, "paris", bytes(16), AskSince(base))
    parts = list(changed.answers(question, found, partial(reading, {}), lambda path: None))
    if isinstance(parts[0], TooOld):
        assert parts[0].at == stand.sequence
        assert base < parts[0].reach <= stand.sequence
        return
    told = [part for part in parts if isinstance(part, Since)]
    rows = [(row.path, row.entry) for part in told for row in part.rows]
    assert len(dict(rows)) == len(rows)
    assert [(part.part, part.of) for part in told] == [(number, len(told)) for number in range(len(told))]
    assert {part.digest for part in told} == {rows_digest(stand.lineage.salt, rows)}
    assert {part.at for part in told} == {stand.sequence}
    merged = before | {path: entry for path, entry in rows if entry is not None}
    assert {path: entry for path, entry in merged.items() if dict(rows).get(path, entry) is not None} == after


def _judge(happenings: list[Any], limit: int, part_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch, _journal(limit) as logged:
        patch.setattr(since, "PART_ROWS", part_rows)
        patch.setattr(since, "DIGESTS_WORTH_ROWS", 3)
        for act in happenings:
            _act(logged, act)
            _check(logged)


histories = st.lists(acts, max_size=12)


@settings(max_examples=60, deadline=None)
@given(histories, st.sampled_from([0, 3, 8, 1000]), st.sampled_from([1, 2, 100]))
def test_an_answer_leads_from_its_base_to_its_position(happenings: list[Any], limit: int, part_rows: int) -> None:
    _judge(happenings, limit, part_rows)


def _always(value: Any) -> Any:
    return lambda *args, **kwargs: value


def _one_sequence_late(self: Journal, base: int) -> Any:
    """The rows are of now, the position that is stated is that of before."""
    found = changed.changed_since(self._database, base)
    if isinstance(found, changed.Changed):
        return changed.Changed(found.lineage, max(base, found.at - 1), base, found.released, found.digest, found.parts)
    return found


CUT, PATHS, ROWS = since.cut, changelog.paths_since, changed._index_rows
MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "too-old": (changelog, "reach", _always(0)),
    "reach of a new epoch": (changelog, "begin_epoch", _always(None)),
    "one-read": (Journal, "changed_since", _one_sequence_late),
    "all that changed after the base": (changelog, "paths_since", lambda d, base, limit: PATHS(d, base + 1, limit)),
    "what is gone too": (changed, "_index_rows", lambda d, paths: (r for r in ROWS(d, paths) if r[1] is not None)),
    "all parts": (since, "cut", lambda rows: [part[:1] for part in [*CUT(rows)]]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_a_rule_it_does_not(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule left out is noticed, so that the test above says something."""
    monkeypatch.setattr(*MUTANTS[mutant])

    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.explicit, Phase.generate], derandomize=True)
    @given(histories, st.sampled_from([0, 3, 8, 1000]), st.sampled_from([1, 2, 100]))
    def judge(happenings: list[Any], limit: int, part_rows: int) -> None:
        _judge(happenings, limit, part_rows)

    with pytest.raises((AssertionError, ExceptionGroup)):
        judge()
