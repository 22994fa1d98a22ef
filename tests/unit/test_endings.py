"""How a program ends: one line and one code for each error."""

import signal
from collections.abc import Iterator

import pytest

from common.endings import exit_code, guarded, heed_sigterm, line_for
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


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Whatever handles SIGTERM handles it again afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
@pytest.mark.parametrize("process", [1, 4711])
def test_only_as_process_1_is_sigterm_handled_from_the_start(process: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops a SIGTERM to process 1 that nobody handles; any other process ends by it anyway, with the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr("os.getpid", lambda: process)
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    heed_sigterm()
    handler = signal.getsignal(signal.SIGTERM)
    if process != 1:
        assert handler == signal.SIG_DFL
        return
    assert callable(handler)
    handler(signal.SIGTERM, None)
    assert ended == [143]
