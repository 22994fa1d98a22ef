"""Which format is written: the lowest that every replica reads, or the pin."""

import pytest

from common.errors import SettingError
from common.wire import versions
from common.wire.versions import FORMAT, LOWEST_WRITTEN, READS, writes


def test_alone_the_newest_is_written() -> None:
    assert writes([], None) == FORMAT


def test_the_lowest_that_was_reported_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "FORMAT", 3)
    monkeypatch.setattr(versions, "LOWEST_WRITTEN", 2)
    assert writes([3, 2, 3], None) == 2
    assert writes([3, 9], None) == 3
    assert writes([1], None) == 2
    assert writes([2], 3) == 3


def test_newer_replicas_do_not_make_the_writer_newer() -> None:
    assert writes([FORMAT + 1, FORMAT + 5], None) == FORMAT


@pytest.mark.parametrize("pin", [0, -1, FORMAT + 1])
def test_a_pin_that_this_version_does_not_write_is_a_wrong_setting(pin: int) -> None:
    with pytest.raises(SettingError) as caught:
        writes([], pin)
    assert caught.value.setting == "TREECAST_WIRE"


def test_what_is_written_is_read() -> None:
    assert {*range(LOWEST_WRITTEN, FORMAT + 1)} <= READS
