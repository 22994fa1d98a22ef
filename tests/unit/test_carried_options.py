"""What `mirror` and `verify` are told of metadata means what the settings of that name mean to the services."""

import grp
import os
from collections.abc import Mapping

import pytest

from common.errors import SettingError
from common.loading import load_consume, load_produce
from common.settings import ConsumeSettings, ProduceSettings, settings_of
from consumer import owners
from treecast.carried_options import _settings, check_allowed, read_metadata, read_patterns, words_of
from treecast.metadata import AS_BY_DEFAULT, Metadata, Shown

TABLE = {**settings_of(ProduceSettings), **settings_of(ConsumeSettings)}
NOTHING: Mapping[str, str] = {}


def test_nothing_told_is_the_default_of_the_services() -> None:
    assert read_metadata({"owner": None}, {"TREECAST_OWNER": ""}) == AS_BY_DEFAULT
    assert (AS_BY_DEFAULT.symlinks, AS_BY_DEFAULT.owner) == (TABLE["symlinks"].default, TABLE["owner"].default)
    defaults = (AS_BY_DEFAULT.dir_mode, AS_BY_DEFAULT.file_mode, AS_BY_DEFAULT.group)
    assert defaults == (TABLE["dir_mode"].default, TABLE["file_mode"].default, TABLE["group"].default)


@pytest.mark.parametrize("name", ["symlinks", "owner", "dir_mode", "file_mode"])
def test_what_is_allowed_is_what_the_setting_allows(name: str) -> None:
    assert _settings()[name][1] == TABLE[name].about.allowed


def test_what_is_typed_wins_over_the_environment_and_capitals_do_not_matter() -> None:
    environ = {"TREECAST_SYMLINKS": "skip", "TREECAST_FILE_MODE": "600"}
    assert read_metadata({"symlinks": "Safe"}, environ) == Metadata(symlinks="safe", file_mode=0o600)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("symlinks", "some"), ("owner", "root"), ("dir_mode", "7777"), ("file_mode", ""), ("group", "no-such-group")],
)
def test_what_is_wrong_is_named_as_it_was_given(name: str, wrong: str) -> None:
    option, variable = f"--{name.replace('_', '-')}", f"TREECAST_{name.upper()}"
    with pytest.raises(SettingError) as typed:
        read_metadata({name: wrong}, NOTHING)
    assert (typed.value.setting, typed.value.found) == (option, wrong)
    if wrong:
        with pytest.raises(SettingError) as found:
            read_metadata({}, {variable: wrong})
        assert found.value.setting == variable


def test_the_services_understand_what_they_are_told() -> None:
    """Every setting arrives in a child as it was meant here."""
    group = grp.getgrgid(os.getegid()).gr_name
    typed = {"symlinks": "safe", "owner": "name", "dir_mode": "0750", "file_mode": "60", "group": group}
    with pytest.raises(SettingError):
        read_metadata(typed, NOTHING)
    told = read_metadata({**typed, "file_mode": "060"}, NOTHING)
    common = {"tree": "t", "broker": "sqlite:////q.db", "state": "/s"}
    producer = load_produce({**common, "source": "/a", **told.for_producer}, None, NOTHING).settings
    consumer = load_consume({**common, "target": "/a", "replica": "r", **told.for_consumer}, None, NOTHING).settings
    assert (producer.symlinks, producer.owner, consumer.owner) == ("safe", "name", "name")
    assert (consumer.dir_mode, consumer.file_mode, consumer.group) == (0o750, 0o060, str(os.getegid()))
    assert "group" not in AS_BY_DEFAULT.for_consumer
    assert words_of({**typed, "owner": None})[:2] == ["--symlinks=safe", "--dir-mode=0750"]


def test_a_copy_must_have_the_modes_and_the_group_that_are_told() -> None:
    assert AS_BY_DEFAULT.expected(0o104751, 1, 2, is_directory=False) == Shown(0o751, None, None)
    told = Metadata(owner="numeric", dir_mode=0o755, group=7)
    assert told.expected(0o40700, 1, 2, is_directory=True) == Shown(0o755, 1, 7)
    assert told.expected(0o600, 1, 2, is_directory=False) == Shown(0o600, 1, 7)
    assert Metadata(group=7).expected(0o600, 1, 2, is_directory=False) == Shown(0o600, None, 7)


def test_owners_that_this_process_may_not_set_are_refused_by_the_name_that_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "may_give_away", lambda: False)
    with pytest.raises(SettingError, match=r"--owner.*CAP_CHOWN"):
        check_allowed(Metadata(owner="name"), {"owner": "name"})
    with pytest.raises(SettingError, match="TREECAST_GROUP"):
        check_allowed(Metadata(group=3_999_999), {})
    check_allowed(Metadata(group=os.getegid()), {})


def test_patterns_are_those_typed_else_the_lines_of_the_environment() -> None:
    environ = {"TREECAST_EXCLUDE": "*.tmp\n/cache/"}
    assert read_patterns(None, environ).lines == ("*.tmp", "/cache/")
    assert read_patterns(["a"], environ).lines == ("a",)
    with pytest.raises(SettingError, match="--exclude"):
        read_patterns(["a\nb"], environ)
