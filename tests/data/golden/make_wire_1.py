"""The messages of which `wire-1/` holds the bytes, as format 1 was first written. Neither they nor the bytes are ever edited.

Run as a program it writes the files that are missing, and touches none that is there.
"""

from pathlib import Path

from common.digests import bucket_of, content_digest
from common.entries import Event, Position, directory_entry, file_entry, symlink_entry
from common.messages import (
    AskBodies,
    AskBuckets,
    AskDigests,
    AskParts,
    AskSince,
    Batch,
    BodyAnswer,
    BucketRows,
    Call,
    Command,
    Downstream,
    Heartbeat,
    Lineage,
    PartAnswer,
    Question,
    ReplicaState,
    Report,
    Same,
    Since,
    TooOld,
    Trial,
    Upstream,
)

FOLDER = Path(__file__).parent / "wire-1"
TREE = "golden"
SALT = bytes(range(32))
LINEAGE = Lineage(TREE, 1_760_000_000, bytes(range(16)), SALT)
NONCE = bytes(range(100, 116))
HEAD, BEFORE, AFTER = content_digest(b"head"), content_digest(b"before"), content_digest(b"after")


def _file(
    path: bytes, content: bytes, *, mode: int = 0o644, mtime_ns: int = 1_759_999_999_123_456_789, owner: str = ""
) -> Event:
    return Event(path, file_entry(mode, mtime_ns, len(content), content_digest(content), owner), content)


def _link(path: bytes, target: bytes) -> Event:
    return Event(path, symlink_entry(len(target), content_digest(target)), target)


ALL_KINDS = (
    Event(b"directory", directory_entry(0o755)),
    _file(b"directory/playlist.m3u8", b"#EXTM3U\nsong.mp3\n"),
    _file(b"directory/empty", b"", mode=0),
    _file(b"before 1970", b"old", mtime_ns=-1),
    _file(b"\xff\xfe not utf-8", b"\x00\xff"),
    _file("é".encode(), b"composed"),
    _file("e\u0301".encode(), b"decomposed"),
    _file(b"new\nline\ttab\x1b[31m", b"x"),
    Event(b"mode alone", file_entry(0o600, 1, 3, content_digest(b"abc"))),
    _link(b"link", b"../outside/\xff"),
    Event(b"deleted", None),
    Event(b"excluded.log", None, keep=True),
)
OWNED = (
    Event(b"d", directory_entry(0o755, "0:0")),
    _file(b"d/f", b"x", owner="www-data:1000"),
    _file(b"d/g", b"y", owner="0:0"),
    Event(b"gone", None),
    _file(b"nobody's", b"z"),
)
_BUCKET = 7
_ROW_PATHS = [path for path in (b"row-%d" % i for i in range(20_000)) if bucket_of(SALT, path) == _BUCKET][:3]

MESSAGES: dict[str, Downstream | Upstream] = {
    "batch": Batch(LINEAGE, 42, (_file(b"a/b", b"content"), Event(b"a/c", None)), HEAD, BEFORE, AFTER),
    "batch-all-kinds": Batch(LINEAGE, 1, ALL_KINDS, bytes(32), BEFORE, AFTER),
    "batch-owned": Batch(LINEAGE, 1, OWNED, bytes(32), BEFORE, AFTER),
    "batch-released": Batch(
        LINEAGE, 44, (Event(b"a/c", None),), HEAD, BEFORE, AFTER, released=44, unix_ns=1_760_000_100_000_000_001
    ),
    "heartbeat": Heartbeat(LINEAGE, 53, HEAD, AFTER, 17, 1_760_000_100_000_000_001, "master.example:4711", 53),
    "heartbeat-at-nothing": Heartbeat(LINEAGE, 0, bytes(32), BEFORE, 0, 0),
    "heartbeat-resting": Heartbeat(
        LINEAGE,
        53,
        HEAD,
        AFTER,
        18,
        1,
        "m:1",
        53,
        ready=7,
        members=10,
        resting=(("replica-1", 0), ("osl", (1 << 63) - 1)),
    ),
    "call": Call(LINEAGE, 1_760_000_100_000_000_001),
    "command": Command(LINEAGE, "replica-1", NONCE, "prove"),
    "trial": Trial(LINEAGE, 53, AFTER, 3, 1_760_000_100_000_000_001, "master.example:4711"),
    "same": Same(LINEAGE, "replica-1", NONCE, 53, (4095, 0, 17), 51),
    "bucket": BucketRows(
        LINEAGE,
        "replica-1",
        NONCE,
        53,
        _BUCKET,
        content_digest(b"bucket"),
        (_file(_ROW_PATHS[0], b"here"), Event(_ROW_PATHS[1], directory_entry(0o700)), _link(_ROW_PATHS[2], b"to")),
        53,
    ),
    "bucket-empty": BucketRows(LINEAGE, "replica-1", NONCE, 53, 9, bytes(32), ()),
    "since": Since(
        LINEAGE, "replica-1", NONCE, 53, 17, 1, 3, content_digest(b"rows"), ALL_KINDS[:4] + ALL_KINDS[10:], 53
    ),
    "since-nothing": Since(LINEAGE, "replica-1", NONCE, 53, 53, 0, 1, bytes(32), ()),
    "too-old": TooOld(LINEAGE, "replica-1", NONCE, 53, 18),
    "part": PartAnswer(LINEAGE, "replica-1", NONCE, 53, HEAD, 262_144, b"the end"),
    "body": BodyAnswer(LINEAGE, "replica-1", NONCE, 53, b"a/\xff", content_digest(b"content"), b"content"),
    "question-digests": Question(
        TREE, 3, "replica-1", NONCE, AskDigests(((0, HEAD), (4095, AFTER))), 1_760_000_000_000_000_000
    ),
    "question-bucket": Question(TREE, 3, "replica-1", NONCE, AskBuckets((5, 4, 3), bodies=True), 1),
    "question-since": Question(TREE, 3, "replica-1", NONCE, AskSince(17), 1),
    "question-parts": Question(TREE, 3, "replica-1", NONCE, AskParts(b"a/\xff", HEAD, 262_144, 16, True), 1),
    "question-body": Question(TREE, 3, "replica-1", NONCE, AskBodies(((b"a", HEAD), (b"b/\xfe", AFTER))), 1),
    "report": Report(
        TREE,
        "replica-1",
        bytes(range(50, 66)),
        Position(1_760_000_000, 53),
        agreed=False,
        state=ReplicaState.COPYING,
        stale_buckets=4096,
        version="0.1.0",
        wire=1,
        unix_ns=1_760_000_000_000_000_000,
        details={"lag_seconds": 0.25, "unmet": 3, "problems": ["a: no permission"], "ready": True, "host": "web-é"},
    ),
}


def main() -> None:
    """Write what is missing."""
    from common.wire.codec import encode

    FOLDER.mkdir(exist_ok=True)
    for name, message in MESSAGES.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(encode(message))


if __name__ == "__main__":
    main()
