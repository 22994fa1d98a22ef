"""How a program ends: one line and one code for each error."""

import pytest

from common.endings import exit_code, guarded, line_for
from common.errors import (
    AdoptionNeededError,
    AlreadyRunningError,
    HaltError,
    NoRoomError,
    SettingError,
    StateError,
    UnreachableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingError("--x", 1, "2"), 2),
        (UnreachableError("gone"), 3),
        (AdoptionNeededError("adopt"), 4),
        (AlreadyRunningError("runs"), 4),
        (HaltError("halt"), 4),
        (StateError("corrupt"), 4),
        (NoRoomError("full"), 1),
        (OSError(13, "Permission denied", "/x"), 1),
        (KeyError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TREECAST_DEBUG", raising=False)

    def act() -> int:
        raise UnreachableError("two\nlines")

    assert guarded(act) == 3
    assert capsys.readouterr().err == "treecast: two\\nlines\n"


def test_an_unforeseen_error_says_where_and_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> int:
        found: dict[str, int] = {}
        return found["x"]

    with pytest.raises(KeyError) as caught:
        act()
    line = line_for(caught.value)
    assert "unexpected KeyError: 'x' (test_endings.py:" in line
    assert "TREECAST_DEBUG=1" in line


def test_a_traceback_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREECAST_DEBUG", "1")

    def act() -> int:
        raise UnreachableError("gone")

    assert guarded(act) == 3
    assert "Traceback" in capsys.readouterr().err
