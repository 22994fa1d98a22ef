"""Who is asked of several processes on one machine, and what becomes of those that do not answer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from common.control import ControlClient
from common.errors import SettingError, UnreachableError
from treecast.asking import all_told, told_by
from treecast.commands.replica import producer_of
from treecast.main import run


@dataclass
class Twin:
    status: dict[str, Any] = field(default_factory=dict)

    def ask(self, _: str) -> dict[str, Any]:
        if not self.status:
            raise UnreachableError("hangs")
        return self.status


def run_here(monkeypatch: pytest.MonkeyPatch, *twins: Twin) -> None:
    monkeypatch.setattr(ControlClient, "find_all", lambda *_: [("", cast("ControlClient", one)) for one in twins])


def test_one_that_hangs_keeps_nobody_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, Twin(), Twin({"role": "producer"}))
    told, silent = told_by(None, "", "")
    assert told == [{"role": "producer"}]
    assert list(map(str, silent)) == ["hangs"]


def test_where_none_answers_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, Twin(), Twin())
    with pytest.raises(UnreachableError, match="hangs"):
        all_told(None, "", lambda one: one.ask("status"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.producer", "b.producer", "b.paris"), "--tree: found 'several producers', allowed: one of a, b"),
        (("a.producer", "a.producer"), r"--state: found 'several producers', allowed: one of /0 \(a\), /1 \(a\)"),
    ],
)
def test_several_producers_are_told_apart(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], told: str) -> None:
    """By their trees, or where those are the same by their directories."""
    monkeypatch.delenv("TREECAST_STATE", raising=False)
    monkeypatch.delenv("TREECAST_TREE", raising=False)
    here = [(name, ControlClient(Path(f"/{number}"))) for number, name in enumerate(names)]
    monkeypatch.setattr(ControlClient, "find_all", lambda *_: here)
    with pytest.raises(SettingError, match=told):
        producer_of(None, "")


def test_where_a_producer_runs_alone_a_scrub_says_how_its_fleet_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, Twin({"role": "producer"}))
    assert run(["scrub"]) == 3
    assert "treecast scrub --all" in capsys.readouterr().err
