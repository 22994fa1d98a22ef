"""What `treecast mirror` is given, judged on real directories, before anything is made."""

from pathlib import Path

import pytest

from common.errors import SettingError
from treecast.mirroring.arguments import judge_arguments


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with `source`, `a` (a directory), `link` (to it) and `file`."""
    (tmp_path / "source").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("remote", ["host:path", "host:/path", "user@host:path", "rsync://host/module", "[::1]:x"])
def test_another_machine_is_refused_with_the_ways_to_reach_it(place: Path, remote: str) -> None:
    """What rsync would take for another machine is not looked for here."""
    for source, replica in ((remote, "b"), ("source", remote)):
        with pytest.raises(SettingError, match=r"treecast produce.*treecast consume.*RabbitMQ"):
            judge_arguments(source, [replica], place / "state")


@pytest.mark.parametrize(
    ("source", "replicas", "state"),
    [
        ("missing", ["b"], "state"),
        ("file", ["b"], "state"),
        ("", ["b"], "state"),
        ("source", ["file"], "state"),
        ("source", ["missing/replica"], "state"),
        ("source", ["source"], "state"),
        ("source", ["source/inside"], "state"),
        ("source", ["."], "state"),
        ("source", ["a", "link"], "state"),
        ("source", ["a", "a/below"], "state"),
        ("source", ["a"], "source/state"),
        ("source", ["a"], "a/state"),
        ("source", ["a"], "."),
        ("source", ["a"], "what?"),
    ],
)
def test_directories_that_cannot_be_a_mirror_are_refused(
    place: Path, source: str, replicas: list[str], state: str
) -> None:
    """A tree in itself, a replica twice, a state that would replicate itself: each is one line, and nothing is made."""
    before = sorted(place.iterdir())
    with pytest.raises(SettingError):
        judge_arguments(source, replicas, Path(state))
    assert sorted(place.iterdir()) == before
    assert not list((place / "source").iterdir())


def test_a_default_state_inside_the_source_says_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treecast.mirroring.arguments.state_root", lambda: tmp_path / "home/.local/state/treecast")
    (tmp_path / "home").mkdir()
    with pytest.raises(SettingError, match="pass --state DIR"):
        judge_arguments(str(tmp_path / "home"), [str(tmp_path / "copy")], None)


def test_a_local_name_with_a_colon_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert judge_arguments("./a:b", ["copy"], tmp_path / "state").source == tmp_path / "a:b"
