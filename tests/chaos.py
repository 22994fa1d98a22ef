"""Everything that somebody, or a bad disk, may do to a replica's files: done to random paths, and counted by kind."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Act = Callable[[Path, random.Random], bool]
"""Does it to one file; False where that file does not serve."""


def _edit(file: Path, rng: random.Random) -> bool:
    with file.open("ab") as opened:
        opened.write(b"edited %d" % rng.randrange(1000))
    return True


def _truncate(file: Path, rng: random.Random) -> bool:
    size = file.stat().st_size
    if not size:
        return False
    os.truncate(file, rng.randrange(size))
    return True


def _delete(file: Path, rng: random.Random) -> bool:
    file.unlink()
    return True


def _add(file: Path, rng: random.Random) -> bool:
    file.with_name(f"added-{rng.getrandbits(60):x}").write_bytes(b"nobody published this")
    return True


def _change_mode(file: Path, rng: random.Random) -> bool:
    file.chmod(0o604 if file.stat().st_mode & 0o777 != 0o604 else 0o640)
    return True


def _swap_kind(file: Path, rng: random.Random) -> bool:
    file.unlink()
    if rng.random() < 0.5:
        file.mkdir()
        (file / "inside").write_bytes(b"foreign")
    else:
        file.symlink_to("/etc/passwd")
    return True


def _flip(file: Path, rng: random.Random) -> bool:
    """One bit of one byte, with size and mtime kept."""
    before = file.stat()
    if not before.st_size:
        return False
    with file.open("r+b") as opened:
        opened.seek(rng.randrange(before.st_size))
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1 << rng.randrange(8)]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


def _age(file: Path, rng: random.Random) -> bool:
    os.utime(file, (1, rng.randrange(1, 1_000_000)))
    return True


ACTS: dict[str, Act] = {
    "edited": _edit,
    "truncated": _truncate,
    "missing": _delete,
    "added": _add,
    "mode": _change_mode,
    "kind": _swap_kind,
    "bit-rot": _flip,
    "mtime": _age,
}


def chaos(root: Path, count: int, seed: int) -> Counter[str]:
    """Do each kind to `count` files of their own, and remove one directory with its files. Returns how often each was done, as a
    scrub counts it."""
    rng = random.Random(seed)
    files = [path for path in sorted(root.rglob("*")) if ".treecast" not in path.parts and path.is_file()]
    done: Counter[str] = Counter()
    victim = rng.choice(files).parent
    files = [file for file in files if file.parent != victim]
    rng.shuffle(files)
    for kind, act in ACTS.items():
        while done[kind] < count:
            done[kind] += act(files.pop(), rng)
    done["missing"] += 1 + sum(1 for _ in victim.rglob("*"))
    shutil.rmtree(victim)
    return done
