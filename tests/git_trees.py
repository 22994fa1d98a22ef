"""A git work tree with a history, from a seed: renames, deletions, files that become directories and back, symlinks, modes."""

import os
import random
import shutil
import subprocess
from pathlib import Path

from tests.waiting import scaled


class GitTree:
    """A repository at `root` with so many revisions, the last of them checked out. Tags are r0, r1 and so on."""

    def __init__(self, root: Path, home: Path, *, seed: int, files: int, revisions: int) -> None:
        self.root = root
        self.revisions = revisions
        self._random = random.Random(seed)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "somebody@example.com"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.git("init", "-q")
        # Nothing of git's own may run on by itself when a command has ended.
        self.git("config", "gc.auto", "0")
        for number in range(files):
            self._write(f"{self._directory()}/file-{number}")
        self._commit(0)
        for revision in range(1, revisions):
            self._change(files // 3, revision)
            self._commit(revision)

    def git(self, *words: str) -> None:
        """Run git in the work tree. Raises CalledProcessError."""
        subprocess.run(
            ["git", *words], cwd=self.root, env=self._environ, check=True, capture_output=True, timeout=scaled(60)
        )

    def check_out(self, revision: int) -> None:
        """Make the work tree that of this revision, whatever is in it now."""
        self.git("checkout", "-q", "-f", f"r{revision}")

    def files(self) -> list[Path]:
        """The files that are checked out now."""
        listed = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=self.root,
            env=self._environ,
            check=True,
            capture_output=True,
            timeout=scaled(60),
        )
        return [self.root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]

    def _commit(self, revision: int) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"revision {revision}")
        self.git("tag", f"r{revision}")

    def _directory(self) -> str:
        return "/".join(f"d{self._random.randrange(6)}" for _ in range(self._random.randrange(1, 4)))

    def _write(self, name: str) -> None:
        path = self.root / name
        for above in path.relative_to(self.root).parents:
            if (self.root / above).is_symlink() or (self.root / above).is_file():
                (self.root / above).unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._random.randbytes(self._random.randrange(0, 400)))

    def _change(self, changes: int, revision: int) -> None:
        """One revision's worth. Every path is taken once, so that no change needs to know of another."""
        present = [path for path in sorted(self.root.rglob("[fl]*")) if ".git" not in path.parts and not path.is_dir()]
        chosen = self._random.sample(present, min(changes, len(present)))
        for number, path in enumerate(chosen):
            if path.is_symlink() or path.is_file():
                self._change_one(path, f"{revision}-{number}")
        self._move_directory(revision)

    def _change_one(self, path: Path, name: str) -> None:
        kind = self._random.randrange(7)
        if kind == 0:
            path.unlink()
        elif kind == 1:
            (self.root / f"moved-{name}").mkdir()
            path.rename(self.root / f"moved-{name}" / path.name)
        elif kind == 2:
            path.unlink()
            self._write(f"{path.relative_to(self.root)}/file-inside-{name}")
        elif kind == 3:
            path.unlink()
            path.symlink_to(self._random.choice(["../nowhere", "/etc/hostname", "d0", path.name]))
        elif kind == 4 and not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 == 0 else 0o644)
        elif kind == 5:
            self._write(f"{self._directory()}/file-{name}")
        else:
            path.unlink()
            self._write(str(path.relative_to(self.root)))

    def _move_directory(self, revision: int) -> None:
        """One whole directory goes elsewhere, and where it was there is a file."""
        directories = sorted(path for path in self.root.glob("d*/d*") if path.is_dir() and not path.is_symlink())
        if directories:
            chosen = self._random.choice(directories)
            shutil.move(chosen, self.root / f"directory-{revision}")
            chosen.write_text("it was a directory")
