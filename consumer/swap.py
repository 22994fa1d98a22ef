"""Carries out a plan on the target's disk: names move, whatever the disk really has. Decides nothing about the tree.

The disk may differ from the index at any path, and somebody may change it meanwhile. A failure at one path makes that path
unmet and stops nothing else; an error of the whole disk is raised as NoRoomError or HaltError, with the plan left behind.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from common.entries import Entry, Kind, directory_entry
from common.errors import NoRoomError
from common.names import ROOT, ancestors, basename, depth, parent
from consumer.appearance import AS_PUBLISHED, Appearance, Shown
from consumer.aside import Aside
from consumer.clearing import Clearing, Protects
from consumer.descriptors import CREATE, HOLD, change_mode, change_owner, change_time, chunks, reopen, write_all
from consumer.faults import DIRECTORY_IN_THE_WAY, NOT_THERE, explain, raise_if_general
from consumer.stage import staged_name
from consumer.values import ForeignPolicy, MakeDirectory, Outcome, Plan, Put, Reason, Touch, Unmet
from consumer.walking import Directories

TRIES = 4
"""How often something is cleared out of the way at one path: somebody may put it back each time."""
_GUESSED_MODE = 0o755


class ProtectedError(OSError):
    """Something protected stands where the plan wants something else."""


class Swap:
    """One plan being carried out."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        plan: Plan,
        root: int,
        contents: int,
        aside: Aside,
        protects: Protects | None,
        failed: dict[bytes, Unmet],
        *,
        appearance: Appearance = AS_PUBLISHED,
        foreign: ForeignPolicy = "aside",
        fresh: frozenset[bytes] = frozenset(),
        is_again: bool = False,
    ) -> None:
        """`contents`: descriptor of the staged contents; `failed`: those of them that could not be staged. `fresh`: paths of
        contents where nothing of ours can stand. `is_again`: an earlier try may have placed some of it."""
        self._appearance = appearance
        self._plan = plan
        self._fresh = fresh
        self._is_again = is_again
        self._contents = contents
        self._protects = protects
        self._aside = aside
        self._directories = Directories(root)
        self._clearing = Clearing(self._directories, aside, protects, foreign)
        self._unmet = dict(failed)
        self._kept: list[bytes] = []
        self._shown: dict[bytes, Shown] = {}
        self.placed: frozenset[bytes] = frozenset()
        """Contents that have their names, where there was no room for all."""
        self.changed: set[bytes] = set()
        """Directories whose names or modes changed, and files that were touched in place: to be made durable."""

    def carry_out(self) -> Outcome:
        """All of it, in the plan's order. May be carried out again."""
        plan = self._plan
        try:
            self._each(plan.clear, partial(self._remove, must_go=True))
            try:
                self._add()
            except NoRoomError:
                # What goes may make the room for what comes.
                self._each(plan.remove, self._remove)
                raise
            self._each(plan.remove, self._remove)
            self._set_modes()
        finally:
            self._directories.tighten()
            self._directories.close()
        return Outcome(self._unmet, tuple(self._aside.paths), tuple(dict.fromkeys(self._kept)))

    def _add(self) -> None:
        for made in self._plan.directories:
            self._try(made.path, partial(self._make_directory, made))
        try:
            self._swap_contents()
        except NoRoomError:
            self.placed = frozenset(self._left_the_stage())
            raise

    # -- one path
    def _each(self, paths: tuple[bytes, ...], do: Callable[[bytes], None]) -> None:
        for path in paths:
            self._try(path, partial(do, path))

    def _try(self, path: bytes, do: Callable[[], None]) -> None:
        """Do it, at most a few times as long as something could be cleared out of its way; else the path is unmet."""
        for tries_left in range(TRIES, -1, -1):
            try:
                do()
            except OSError as error:
                raise_if_general(error, f"changing {explain(path, error)}")
                if tries_left and self._may_try_again(path, error):
                    continue
                self._unmet[path] = Unmet(Reason.PROBLEM, explain(path, error))
            return

    def _may_try_again(self, path: bytes, error: OSError) -> bool:
        """Clear out of the way what the error tells of, if that can be done."""
        try:
            if isinstance(error, ProtectedError):
                return False
            if error.errno in NOT_THERE:
                self._ensure(parent(path))
                return True
            if error.errno in DIRECTORY_IN_THE_WAY:
                self._remove(path, must_go=True)
                return path not in self._kept
            return isinstance(error, PermissionError) and self._directories.loosen(parent(path))
        except OSError as worse:
            raise_if_general(worse, f"making way for {explain(path, worse)}")
            # Somebody changes the disk meanwhile: what is true now is seen by the next try. Or what is in the way lies in a
            # directory that forbids its owner to take it out.
            return worse.errno in NOT_THERE | DIRECTORY_IN_THE_WAY or self._loosened_above(path, worse)

    def _loosened_above(self, path: bytes, error: OSError) -> bool:
        with suppress(OSError):
            return isinstance(error, PermissionError) and self._directories.loosen(parent(path))
        return False

    def _remove(self, path: bytes, *, must_go: bool = False) -> None:
        try:
            if not self._clearing.remove(path, is_foreign=path in self._plan.foreign, must_go=must_go):
                self._kept.append(path)
            self._directories.forget(path)
            self.changed.add(parent(path))
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise

    def _refuse_protected(self, path: bytes, is_directory: bool) -> None:
        if self._protects is not None and self._protects(path, is_directory):
            raise ProtectedError(0, "protected here by an exclude pattern")

    # -- directories
    def _make_directory(self, made: MakeDirectory) -> None:
        path = made.path
        self._refuse_protected(path, is_directory=True)
        above = self._directories.open(parent(path))
        try:
            os.mkdir(basename(path), 0o700, dir_fd=above)
            self.changed.add(parent(path))
        except FileExistsError:
            self._enter_or_clear(path)
        self._shown[path] = self._appearance.of(directory_entry(made.mode, made.owner))

    def _enter_or_clear(self, path: bytes) -> None:
        """Something stands where a directory must: good if it is one; else it goes."""
        try:
            self._directories.open(path)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            self._clearing.remove(path, is_foreign=path in self._plan.foreign)
            os.mkdir(basename(path), 0o700, dir_fd=self._directories.open(parent(path)))
            self.changed.add(parent(path))

    def _ensure(self, path: bytes) -> None:
        """The index says that this and all above are directories; where the disk does not, it is made so.

        What stands in the way was put there by somebody else: it goes aside.
        """
        for above in (*ancestors(path), path) if path != ROOT else ():
            try:
                self._directories.open(above)
                continue
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise
                if not self._clearing.put_aside(above):
                    raise ProtectedError(0, "protected here by an exclude pattern") from error
            os.mkdir(basename(above), 0o700, dir_fd=self._directories.open(parent(above)))
            self.changed.add(parent(above))
            made = self._plan.above.get(above, MakeDirectory(above, _GUESSED_MODE))
            self._shown.setdefault(above, self._appearance.of(directory_entry(made.mode, made.owner)))

    def _set_modes(self) -> None:
        """Deepest first: a mode may forbid to reach what is below."""
        loosened = {path: Shown(mode) for path, mode in self._directories.loosened().items()}
        shown = {**loosened, **self._shown}
        for path in sorted(shown, key=depth, reverse=True):
            if path not in self._unmet:
                self._try(path, partial(self._show, path, shown[path]))

    def _show(self, path: bytes, shown: Shown) -> None:
        held = self._directories.open(path)
        seen = os.fstat(held)
        if not shown.is_owned(seen.st_uid, seen.st_gid):
            change_owner(held, shown.uid, shown.gid)
            self.changed.add(path)
        if stat.S_IMODE(os.fstat(held).st_mode) != shown.mode:
            change_mode(held, shown.mode)
            self.changed.add(path)
        self._directories.settled(path)

    # -- contents
    def _swap_contents(self) -> None:
        """The tight loop: one rename for each, and whatever goes wrong is handled beside it."""
        open_directory, rename, contents, changed = self._directories.open, os.rename, self._contents, self.changed
        foreign, failed = self._plan.foreign, self._unmet
        is_plain, fresh = self._protects is None, self._fresh
        for number, put in enumerate(self._plan.contents):
            path = put.path
            if path in failed:
                continue
            if is_plain and path not in foreign and type(put) is Put:
                above, _, name = path.rpartition(b"/")
                try:
                    if path in fresh and self._is_foreign(put):
                        self._put_foreign_aside(path)
                    rename(b"%x" % number, name, src_dir_fd=contents, dst_dir_fd=open_directory(above))
                    changed.add(above)
                    continue
                except OSError as error:
                    raise_if_general(error, f"changing {explain(path, error)}")
            self._try(path, partial(self._place, number, put))

    def _left_the_stage(self) -> Iterator[bytes]:
        staged = {os.fsencode(name) for name in os.listdir(self._contents)}
        for number, put in enumerate(self._plan.contents):
            if type(put) is Put and put.path not in self._unmet and staged_name(number) not in staged:
                yield put.path

    def _place(self, number: int, put: Put | Touch) -> None:
        path = put.path
        self._refuse_protected(path, is_directory=False)
        if isinstance(put, Touch):
            self._touch(number, put)
            return
        if self._must_go_aside(put):
            self._put_foreign_aside(path)
        above = self._directories.open(parent(path))
        os.rename(staged_name(number), basename(path), src_dir_fd=self._contents, dst_dir_fd=above)
        self.changed.add(parent(path))

    def _must_go_aside(self, put: Put) -> bool:
        if put.path in self._plan.foreign and not self._is_again:
            return True
        return (put.path in self._plan.foreign or put.path in self._fresh) and self._is_foreign(put)

    def _is_foreign(self, put: Put) -> bool:
        """Whether something stands where nothing of ours can: by size and time alone, what looks like the new file is it."""
        try:
            seen = os.lstat(basename(put.path), dir_fd=self._directories.open(parent(put.path)))
        except FileNotFoundError:
            return False
        is_alike = (seen.st_size, seen.st_mtime_ns) == (put.entry.size, put.entry.mtime_ns)
        return not (stat.S_ISREG(seen.st_mode) and is_alike)

    def _put_foreign_aside(self, path: bytes) -> None:
        try:
            if not self._clearing.put_aside(path):
                raise ProtectedError(0, "something protected is in the way")
        except FileNotFoundError:
            return

    def _touch(self, number: int, touch: Touch) -> None:
        """Mode, time and owner of a file that has the content already. Never through a hard link, never through a symlink."""
        entry = touch.entry
        if entry.kind is Kind.SYMLINK:
            self._touch_link(touch)
            return
        try:
            held = os.open(basename(touch.path), HOLD, dir_fd=self._directories.open(parent(touch.path)))
        except FileNotFoundError:
            self._unmet[touch.path] = Unmet(Reason.BODY, "missing on this disk")
            return
        try:
            seen = os.fstat(held)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size != entry.size or entry.kind != Kind.FILE:
                self._unmet[touch.path] = Unmet(Reason.BODY, "something else stands on this disk")
            elif self._is_dressed(seen, entry):
                # Perhaps by a try that failed before it was durable.
                self.changed.add(touch.path)
            elif seen.st_nlink > 1:
                self._touch_copy(number, touch, held)
            else:
                self._dress(held, entry)
                self.changed.add(touch.path)
        finally:
            os.close(held)

    def _is_dressed(self, seen: os.stat_result, entry: Entry) -> bool:
        """Whether a file shows as it should: where modes are told, the index of a start cannot know."""
        shown = self._appearance.of(entry)
        is_owned = shown.is_owned(seen.st_uid, seen.st_gid)
        return is_owned and (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (shown.mode, entry.mtime_ns)

    def _dress(self, held: int, entry: Entry) -> None:
        """Owner, mode and time of the file that a descriptor holds, in this order: a new owner may cost mode bits."""
        shown = self._appearance.of(entry)
        if shown.has_owner:
            change_owner(held, shown.uid, shown.gid)
        change_mode(held, shown.mode)
        change_time(held, entry.mtime_ns)

    def _touch_link(self, touch: Touch) -> None:
        """Of a symlink the owner alone can change."""
        shown, above, name = (
            self._appearance.of(touch.entry),
            self._directories.open(parent(touch.path)),
            basename(touch.path),
        )
        try:
            seen = os.lstat(name, dir_fd=above)
            if not stat.S_ISLNK(seen.st_mode):
                self._unmet[touch.path] = Unmet(Reason.BODY, "something else stands on this disk")
            elif not shown.is_owned(seen.st_uid, seen.st_gid):
                os.chown(name, shown.uid, shown.gid, dir_fd=above, follow_symlinks=False)
                self.changed.add(parent(touch.path))
        except FileNotFoundError:
            self._unmet[touch.path] = Unmet(Reason.BODY, "missing on this disk")

    def _touch_copy(self, number: int, touch: Touch, held: int) -> None:
        """The file has other names, perhaps outside: they keep mode and time, this name gets a copy."""
        name, entry = staged_name(number), touch.entry
        source = reopen(held)
        try:
            copy = os.open(name, CREATE, 0o600, dir_fd=self._contents)
            try:
                for piece in chunks(source):
                    write_all(copy, piece)
                self._dress(copy, entry)
                os.fsync(copy)
            finally:
                os.close(copy)
        finally:
            os.close(source)
        above = self._directories.open(parent(touch.path))
        os.rename(name, basename(touch.path), src_dir_fd=self._contents, dst_dir_fd=above)
        self.changed.add(parent(touch.path))
