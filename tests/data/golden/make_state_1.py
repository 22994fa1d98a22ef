"""Makes state-1.db: a replica's state as version 1 writes it. It was run once; the file is never edited or made anew.

Run from the root of the project: python -m tests.data.golden.make_state_1 PATH
"""

import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from common.digests import content_digest
from common.entries import Entry, Position, directory_entry, file_entry, symlink_entry
from consumer.state import State
from consumer.values import Found, Outcome, Plan, Reason, Row, Stale, Step, Told, Unmet

TREE, REPLICA, MARK, TOKEN = "playlists", "fra-1", "0123456789abcdef0123456789abcdef", b"token of commit 2"
SALT = bytes(range(32))
ENTRIES: dict[bytes, Entry] = {
    b"music": directory_entry(0o755),
    b"music/one.m3u": file_entry(0o644, 1_600_000_000_123_456_789, 3, content_digest(b"one")),
    b"music/\xff\n": file_entry(0o600, -1, 0, content_digest(b"")),
    b"link": symlink_entry(5, content_digest(b"music"), "www:data"),
    b"found": file_entry(0o640, 5, 5, content_digest(b"found")),
}
AT = Position(1_700_000_000, 41)
ROWS = {path: Row(entry, AT) for path, entry in ENTRIES.items() if path != b"found"} | {
    b"found": Row(ENTRIES[b"found"], None, True)
}
UNMET = {b"music/one.m3u": Unmet(Reason.BODY), b"music/\xff\n": Unmet(Reason.PROBLEM, "Permission denied")}
RECENT = (41, b"hash of the batch".ljust(32, b"."))


def make(path: Path) -> None:
    """Write the file."""
    with State.open(path, TREE, REPLICA) as state:
        state.adopt([Found(b"found", ENTRIES[b"found"])], first_copy_complete=False)
        state.bind(MARK)
        stale = {7: Stale(AT, 40), 9: Stale(AT, None)}
        there = replace(
            state.standing(), epoch=AT.epoch, instance=b"i" * 16, salt=SALT, sequence=AT.sequence, head=RECENT[1],
            digest=b"d" * 32, stale=dict.fromkeys(range(4096), Stale(AT, None)), commits=1,
        )  # fmt: skip
        want = {path: Told(row.entry, row.at) for path, row in ROWS.items() if not row.found}
        want[b"gone"] = Told(None, AT)
        state.commit(Step(there, want=want, recent=(RECENT,)), Plan(unmet=UNMET), Outcome())
        last = replace(there, stale=stale, commits=2, proved=Position(AT.epoch, 40), is_forked=True)
        state.commit(Step(last), Plan(), Outcome(), token=TOKEN)
        state.complete_first_copy()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    with closing(sqlite3.connect(sys.argv[1])) as database:
        database.execute("VACUUM")
