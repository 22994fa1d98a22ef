"""Which of the paths that somebody types are nobody's."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingError
from producer.path_orders import path_handlers
from tests.running_producer import RunningProducer
from tests.twins import MemoryBroker


def told(journal: Path, source: Path, *paths: str) -> dict[str, Any]:
    verb = path_handlers(journal, os.fsencode(source))["paths-unknown"]
    finish = verb({"paths": [b64encode(os.fsencode(path)).decode() for path in paths]})
    assert callable(finish)
    return finish()


def test_what_is_there_is_published_or_was_deleted_lately_is_known(tmp_path: Path) -> None:
    """And nothing else is: what never was, in the tree or absolute."""
    source = tmp_path / "source"
    source.mkdir()
    producer = RunningProducer(source, tmp_path / "state", MemoryBroker())
    journal = producer.journal.path
    for name in ("stays", "goes", "gone unseen"):
        (source / name).write_text(name)
    producer.settle()
    (source / "goes").unlink()
    producer.settle()
    (source / "gone unseen").unlink()
    (source / "new").write_text("not seen yet")
    assert told(journal, source, "stays", "goes", "gone unseen", "new", ".", str(source)) == {
        "unknown": 0,
        "named": [],
    }
    assert told(journal, source, "stays", "never", f"{source}/a/b", "stays/x") == {
        "unknown": 3,
        "named": ["never", "a/b", "stays/x"],
    }
    with pytest.raises(SettingError, match="absolute one below the source"):
        told(journal, source, "/elsewhere")
    producer.stop()
