"""The control socket: found, asked, replaced when its process is dead, and there for its owner alone."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from common.control import ControlClient, ControlServer, Verb, running
from common.errors import (
    AlreadyRunningError,
    NeedsUpgradeError,
    SettingError,
    StoppedError,
    TreecastError,
    UnreachableError,
)

Environ = dict[str, str]


def echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"echo": arguments}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environ:
    """A run directory of the test's own, and no other that a search would look in."""
    monkeypatch.setattr("common.places.SYSTEM_RUN", tmp_path / "none/run")
    monkeypatch.setattr("common.places.tempfile.gettempdir", lambda: str(tmp_path / "none"))
    (tmp_path / "run").mkdir()
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serve(stack: ExitStack, state: Path, name: str, environ: Environ, **verbs: Verb) -> ControlServer:
    state.mkdir(parents=True, exist_ok=True)
    server = ControlServer(state, name, {"echo": echo, **verbs}, environ)
    stack.callback(server.close)
    return server


def test_a_question_is_answered(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    serve(stack, tmp_path / "state", "t.producer", environ)
    assert ControlClient(tmp_path / "state").ask("echo", a=1, b=["x"]) == {"echo": {"a": 1, "b": ["x"]}}


def test_the_socket_is_for_its_owner_alone(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    serve(stack, tmp_path, "t.producer", environ)
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


@pytest.mark.parametrize("platform", ["linux", "another"])
def test_it_works_for_state_paths_over_108_bytes(
    tmp_path: Path, environ: Environ, stack: ExitStack, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux through a descriptor, elsewhere through a short link."""
    monkeypatch.setattr("common.control.sys.platform", platform)
    state = tmp_path / ("long-" * 20) / ("longer-" * 20)
    assert len(os.fsencode(state)) > 200
    serve(stack, state, "t.producer", environ)
    assert ControlClient(state).ask("echo") == {"echo": {}}
    assert ControlClient.find(None, "t", environ).state == state


def test_the_one_that_runs_here_is_found(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    """By its link; by its tree; by a state directory that is told, or in TREECAST_STATE."""
    state = tmp_path / "state"
    serve(stack, state, "t.producer", environ)
    assert ControlClient.find(None, None, environ).state == state
    assert ControlClient.find(None, "t", environ).state == state
    assert ControlClient.find(Path("/told"), None, environ).state == Path("/told")
    assert ControlClient.find(None, None, {**environ, "TREECAST_STATE": "/set"}).state == Path("/set")
    with pytest.raises(UnreachableError, match="--state"):
        ControlClient.find(None, "other", environ)


def test_of_several_one_must_be_named(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    for name in ("t.producer", "t.paris", "u.paris"):
        serve(stack, tmp_path / name, name, environ)
    assert [one.name for one in running(environ)] == ["t.paris", "t.producer", "u.paris"]
    assert ControlClient.find(None, "u", environ).state == tmp_path / "u.paris"
    assert [name for name, _ in ControlClient.find_all(None, "t", environ)] == ["t.paris", "t.producer"]
    with pytest.raises(SettingError) as caught:
        ControlClient.find(None, "t", environ)
    assert "--state" in str(caught.value)
    assert f"{tmp_path / 't.paris'} (t.paris)" in str(caught.value)
    assert f"{tmp_path / 't.producer'} (t.producer)" in str(caught.value)


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    serve(stack, tmp_path, "t.producer", environ)
    assert ControlClient(tmp_path).ask("echo") == {"echo": {}}


def test_the_socket_of_a_living_process_is_not(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    serve(stack, tmp_path, "t.producer", environ)
    with pytest.raises(AlreadyRunningError, match="treecast status --state"):
        ControlServer(tmp_path, "t.producer", {}, environ)
    assert ControlClient(tmp_path).ask("echo") == {"echo": {}}


def test_a_link_to_a_dead_process_is_ignored_and_removed(tmp_path: Path, environ: Environ) -> None:
    link = tmp_path / "run/treecast/t.producer.1.pid"
    link.parent.mkdir(mode=0o700)
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(UnreachableError):
        ControlClient.find(None, None, environ)
    assert not link.is_symlink()


def test_nothing_is_left_at_the_end(tmp_path: Path, environ: Environ) -> None:
    (tmp_path / "state").mkdir()
    server = ControlServer(tmp_path / "state", "t.producer", {}, environ)
    server.close()
    server.close()
    assert list((tmp_path / "state").iterdir()) == []
    assert list((tmp_path / "run/treecast").iterdir()) == []


def test_nobody_there_is_out_of_reach_with_the_command_to_type_next(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="treecast produce or treecast consume"):
        ControlClient(tmp_path / "none").ask("status")


def test_errors_of_a_verb_reach_the_asker(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    """Those with an exit code of their own keep it; a broken verb does not end the process."""

    def stopped(_: dict[str, Any]) -> dict[str, Any]:
        raise StoppedError("adopt first")

    def wrong(_: dict[str, Any]) -> dict[str, Any]:
        raise SettingError("ID", "fra7", "a replica")

    def broken(_: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("bug")

    serve(stack, tmp_path, "t.producer", environ, stopped=stopped, wrong=wrong, broken=broken)
    client = ControlClient(tmp_path)
    with pytest.raises(StoppedError, match="adopt first"):
        client.ask("stopped")
    with pytest.raises(NeedsUpgradeError, match="does not know"):
        client.ask("future-verb")
    with pytest.raises(SettingError) as refused:
        client.ask("wrong")
    assert (refused.value.setting, refused.value.found, refused.value.allowed) == ("ID", "fra7", "a replica")
    with pytest.raises(TreecastError, match="bug"):
        client.ask("broken")
    assert client.ask("echo") == {"echo": {}}


@pytest.mark.parametrize("junk", [b"\n", b"{}\n", b"[]\n", b"\xff\xfe\n", b'{"verb": []}\n', b"[" * 50_000 + b"\n"])
def test_junk_is_answered_with_an_error(tmp_path: Path, environ: Environ, stack: ExitStack, junk: bytes) -> None:
    serve(stack, tmp_path, "t.producer", environ)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(tmp_path / "control.sock"))
        line.sendall(junk)
        assert b'"error": "the question is malformed' in line.recv(4096)
    assert ControlClient(tmp_path).ask("echo") == {"echo": {}}


def test_without_a_run_directory_it_is_found_by_state_only(tmp_path: Path, environ: Environ, stack: ExitStack) -> None:
    """A container may have no place that can be written to; that stops nothing."""
    (tmp_path / "run").rmdir()
    serve(stack, tmp_path / "state", "t.producer", environ)
    assert running(environ) == []
    assert ControlClient(tmp_path / "state").ask("echo") == {"echo": {}}


def test_nor_does_it_where_there_is_no_directory_for_temporary_files(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with a read-only root has not even a place in which Python could make one."""

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("common.places.SYSTEM_RUN", tmp_path / "none/run")
    monkeypatch.setattr("common.places.tempfile.gettempdir", nowhere)
    serve(stack, tmp_path / "state", "t.producer", {})
    assert running({}) == []
    assert ControlClient(tmp_path / "state").ask("echo") == {"echo": {}}
