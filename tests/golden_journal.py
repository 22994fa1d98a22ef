"""The golden journal of version 1: what is in it, and how it was made. It is test data and never edited.

`python -m tests.golden_journal` made it, once. A later version gets a file of its own.
"""

import shutil
from pathlib import Path

from common.digests import content_digest
from common.entries import directory_entry, file_entry, symlink_entry
from common.messages import Lineage
from producer import numbering
from producer.guard import RootIdentity
from producer.journal import Journal
from producer.values import Change, Identity

GOLDEN = Path(__file__).parent / "data" / "golden" / "journal-1.db"

_SALT = bytes(range(32))
GOLDEN_STATE = (1_700_000_000, 5, _SALT.hex())
GOLDEN_CHANGES = (
    Change(b"d", None, directory_entry(0o750), None, Identity(3, 30)),
    Change(b"d/\xff\n", None, file_entry(0o640, -1, 2, content_digest(b"hi")), b"hi", Identity((1 << 64) - 1, -7)),
    Change(b"link", None, symlink_entry(3, content_digest(b"d/x"), "1000:100"), b"d/x", Identity(5, 50)),
    Change(b"empty", None, file_entry(0o777, (1 << 63) - 1, 0, content_digest(b"")), b"", Identity(6, 60)),
    Change("é".encode(), None, file_entry(0, 0, 1, content_digest(b"1")), b"1", Identity(7, 70)),
)


def copy_of(golden: Path, directory: Path) -> Path:
    """A copy that may be written."""
    copy = directory / "journal.db"
    shutil.copyfile(golden, copy)
    return copy


def make(path: Path) -> None:
    """Write the golden journal."""
    journal = Journal(path, "golden")
    with journal._transaction():
        journal._set(salt=_SALT)
    journal.close()
    journal = Journal(path, "golden")
    journal.begin_epoch(Lineage("golden", GOLDEN_STATE[0], bytes(16), _SALT))
    journal.whole_compared(RootIdentity(11, 12))
    journal.commit(numbering.number(journal.stand, GOLDEN_CHANGES))
    journal._database.execute("PRAGMA journal_mode = DELETE")
    journal.close()


if __name__ == "__main__":
    assert not GOLDEN.exists(), f"{GOLDEN} is released and never edited"
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    make(GOLDEN)
