"""Settings from a real file, password files, and the directories that a process needs."""

import os
import stat
from pathlib import Path

import pytest

from common.errors import SettingError
from common.loading import Loaded, load_consume, load_produce
from common.places import (
    check_apart,
    check_directory,
    file_system_type,
    is_own_directory,
    make_run_directory,
    make_state_directory,
)
from common.settings import ProduceSettings

FLEET = """
tree = "playlists"
broker = "sqlite:////q.db"
log_level = "warning"
listen = 9100

[produce]
source = "/srv/master"
exclude = ["*.tmp"]
log_level = "debug"
settle = 1.5

[consume]
target = "/srv/copy"
adopt = true
"""


def config_file(directory: Path, text: str = FLEET) -> Path:
    file = directory / "treecast.toml"
    file.write_text(text)
    return file


def produce(config: Path, cli: dict[str, object] | None = None, **environ: str) -> Loaded[ProduceSettings]:
    return load_produce(cli or {}, config, environ)


def test_one_file_serves_the_fleet(tmp_path: Path) -> None:
    """Common keys at the top, each role's own in its table, which wins."""
    file = config_file(tmp_path)
    producer = produce(file)
    consumer = load_consume({}, file, {})
    assert producer.settings.source == Path("/srv/master")
    assert (producer.settings.log_level, consumer.settings.log_level) == ("debug", "warning")
    assert (producer.settings.settle_seconds, producer.settings.exclude) == (1.5, ("*.tmp",))
    assert consumer.settings.adopt
    assert producer.given["log_level"].origin == f"file {file}: [produce] log_level"
    assert consumer.given["log_level"].origin == f"file {file}: log_level"


def test_command_line_and_environment_beat_the_file(tmp_path: Path) -> None:
    loaded = produce(config_file(tmp_path), {"source": "/cli"}, TREECAST_SOURCE="/env", TREECAST_LOG_LEVEL="error")
    assert loaded.settings.source == Path("/cli")
    assert loaded.settings.log_level == "error"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tre = 'x'", "tre in FILE: found 'tre', allowed: a setting; the nearest is tree"),
        (
            "[consume]\ntagret = '/x'",
            "[consume] tagret in FILE: found 'tagret', allowed: a setting; the nearest is target",
        ),
        ("target = '/x'", "target in FILE: found 'target', allowed: a setting; target stands in [consume]"),
        ("produce = 1", "[produce] in FILE: found 1, allowed: a table"),
        ("tree = 7", "tree in FILE: found 7, allowed: 1 to 63"),
        (
            "tree = 't'\n[produce]\nsource = '/s'\nexclude = [1]",
            "[produce] exclude in FILE: found [1], allowed: gitignore patterns",
        ),
        ("tree = 't'\n[produce]\nsource = 'x'", "[produce] source in FILE: found 'x', allowed: an absolute path"),
        ("tree = ", "--config: found 'FILE', allowed: a TOML file"),
        ("tree = '\udcff'", "--config: found 'FILE', allowed: a TOML file"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    """The other role's table is checked for keys too: a file for the fleet is right or wrong as a whole."""
    file = tmp_path / "treecast.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingError) as caught:
        produce(file, {"broker": "sqlite:////q.db"})
    assert str(caught.value).replace(str(file), "FILE").startswith(line)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"--config: .*No such file"):
        produce(tmp_path / "none.toml")


def test_a_password_file_loses_one_newline_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("geheim\n\n")
    loaded = produce(config_file(tmp_path), {"broker_password_file": str(secret)})
    assert loaded.settings.broker_password is not None
    assert loaded.settings.broker_password.get_secret_value() == "geheim\n"
    assert "geheim" not in repr(loaded)


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^--broker-password-file: .*No such file"):
        produce(config_file(tmp_path), {"broker_password_file": str(tmp_path / "none")})


def test_a_state_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """What is above it too; one that is there is left as it is."""
    state = tmp_path / "a/b/c"
    for _ in range(2):
        assert make_state_directory("TREECAST_STATE", state) == state
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    make_state_directory("TREECAST_STATE", tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_state_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(SettingError, match="TREECAST_STATE"):
            make_state_directory("TREECAST_STATE", bad)


def test_a_state_on_a_network_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's locks cannot be trusted there."""
    monkeypatch.setattr("common.places.file_system_of", lambda directory: "nfs4")
    with pytest.raises(SettingError, match=r"TREECAST_STATE: .*not on nfs4"):
        make_state_directory("TREECAST_STATE", tmp_path)


def test_a_file_system_is_found_by_its_device() -> None:
    mounts = (
        "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "96 22 0:51 / /mnt/a\\040b rw shared:9 master:2 - nfs4 host:/export rw\n"
    )
    assert file_system_type(mounts, "0:51") == "nfs4"
    assert file_system_type(mounts, "253:0") == "ext4"
    assert file_system_type(mounts, "8:1") == ""


def test_state_and_tree_may_not_lie_in_each_other(tmp_path: Path) -> None:
    """By real paths: a link does not hide it."""
    root, state = tmp_path / "root", tmp_path / "state"
    (root / "below").mkdir(parents=True)
    state.mkdir()
    (tmp_path / "link").symlink_to(root / "below")
    check_apart("TREECAST_STATE", state, root)
    for bad in (root, root / "new/state", tmp_path, tmp_path / "link"):
        with pytest.raises(SettingError, match="TREECAST_STATE"):
            check_apart("TREECAST_STATE", bad, root)


def test_a_root_must_be_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert check_directory("--source", tmp_path) == tmp_path
    for bad in ("file", "none", "dangling"):
        with pytest.raises(SettingError, match=r"^--source: "):
            check_directory("--source", tmp_path / bad)


def test_a_run_directory_that_others_may_write_to_is_not_ours(tmp_path: Path) -> None:
    """In a shared place somebody else could put one there first, and lead our commands astray."""
    mine = make_run_directory({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert mine == tmp_path / "treecast"
    assert is_own_directory(mine)
    mine.chmod(0o777)
    assert not is_own_directory(mine)
    (tmp_path / "link").symlink_to(tmp_path / "treecast")
    assert not is_own_directory(tmp_path / "link")
    assert os.path.isdir(tmp_path / "link")
