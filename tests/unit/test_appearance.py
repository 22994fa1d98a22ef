"""How an entry shows on a replica: as published, unless modes, group or owner are told otherwise."""

import errno
import os

import pytest

from common.digests import content_digest
from common.entries import directory_entry, file_entry, symlink_entry
from common.errors import SettingError
from common.settings import ConsumeSettings
from consumer import owners
from consumer.appearance import AS_PUBLISHED, LEFT, Appearance, Shown
from consumer.owners import appearance_of, resolve_owner

FILE = file_entry(0o640, 1, 1, content_digest(b"x"), "www:1000")
DIRECTORY = directory_entry(0o750)
LINK = symlink_entry(1, content_digest(b"x"))


def settings(**told: object) -> ConsumeSettings:
    return ConsumeSettings.model_validate(
        {"tree": "t", "broker": "sqlite:////q.db", "state": "/s", "target": "/t", "replica": "r", **told}
    )


def test_everything_shows_as_it_was_published_by_default() -> None:
    assert appearance_of(settings()) == AS_PUBLISHED
    assert AS_PUBLISHED.of(FILE) == Shown(0o640, LEFT, LEFT)
    assert not AS_PUBLISHED.of(FILE).has_owner


def test_a_mode_that_is_told_is_that_of_all_files_or_of_all_directories() -> None:
    appearance = appearance_of(settings(dir_mode="0755", file_mode="644"))
    assert (appearance.mode(FILE), appearance.mode(DIRECTORY), appearance.mode(LINK)) == (0o644, 0o755, 0o777)
    assert Appearance(dir_mode=0o755).mode(FILE) == 0o640


@pytest.mark.parametrize("wrong", ["rw-r--r--", "88", "1755", "7777", 0o4755, True, ""])
def test_a_mode_that_is_no_three_octal_digits_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="three octal digits"):
        settings(file_mode=wrong)


def test_an_owner_is_set_where_that_is_asked_for_and_the_group_that_is_told_wins() -> None:
    appearance = Appearance(gid=7, resolve=lambda owner: (33, 1000))
    assert appearance.of(FILE) == Shown(0o640, 33, 7)
    assert appearance.of(DIRECTORY) == Shown(0o750, LEFT, 7)


def test_an_owner_that_this_machine_does_not_know_is_an_error_that_says_what_to_do() -> None:
    assert resolve_owner("0:12") == (0, 12)
    assert resolve_owner("root:root") == (0, 0)
    with pytest.raises(OSError, match="no user 'nobody-of-that-name'") as caught:
        resolve_owner("nobody-of-that-name:0")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="no group 'no-such'"):
        resolve_owner("0:no-such")


def test_owners_need_a_process_that_may_give_files_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "may_give_away", lambda: False)
    with pytest.raises(SettingError, match=r"TREECAST_OWNER.*CAP_CHOWN"):
        appearance_of(settings(owner="numeric"))
    with pytest.raises(SettingError, match=r"TREECAST_GROUP.*CAP_CHOWN"):
        appearance_of(settings(group="3999999"))
    assert appearance_of(settings(group=str(os.getegid()))).gid == os.getegid()
    with pytest.raises(SettingError, match="TREECAST_GROUP"):
        appearance_of(settings(group="no-such-group"))
