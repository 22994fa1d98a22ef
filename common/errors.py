"""Every error of ours, in one tree. Foreign exceptions are converted into these at the edge module that meets them.

TreecastError
├── SettingError            a setting or an argument is wrong; ends with exit code 2
├── StoppedError            only a person can go on: adoption needed, halt, another leads; exit code 4
│   ├── AdoptionNeededError     the target holds files and is not ours
│   ├── NotOurTargetError       our mark is missing or foreign although the state knows files
│   ├── AlreadyRunningError     another process has this target, state, replica name or tree
│   └── HaltError               disk or state cannot be trusted
├── UnreachableError        broker or process out of reach; retryable; exit code 3 in one-shot commands
├── RefusedError            a message that must not be applied: dropped and acked, counted, alarmed
│   ├── PathError               a path that no tree may hold
│   └── NeedsUpgradeError       a format, type or need that this version does not know
├── NoRoomError             no space, quota, inodes or descriptors: wait; retryable
├── RootGoneError           the source's root is not there; retryable
└── StateError              a database of ours is corrupt, foreign or of an unknown version
"""


class TreecastError(Exception):
    """The root. `retryable` answers: may the same act succeed later, without a person?"""

    retryable = False


class SettingError(TreecastError):
    """A setting is wrong. The message names the setting, what was found and what is allowed."""

    def __init__(self, setting: str, found: object, allowed: str) -> None:
        super().__init__(f"{setting}: found {found!r}, allowed: {allowed}")
        self.setting = setting
        self.found = found
        self.allowed = allowed


class StoppedError(TreecastError):
    """Only a person can go on. The message ends with the command to type next."""


class AdoptionNeededError(StoppedError):
    """The target holds files and does not carry our mark."""


class NotOurTargetError(StoppedError):
    """Our mark is missing, or another's is there, although the state knows files."""


class AlreadyRunningError(StoppedError):
    """Another process has this target, state directory, replica name or tree. The message names it where it can."""


class HaltError(StoppedError):
    """The disk or the state cannot be trusted: nothing more is applied until a person or a restart."""


class UnreachableError(TreecastError):
    """The broker, or the process that was asked for, is out of reach."""

    retryable = True


class RefusedError(TreecastError):
    """A message that must not be applied. `reason` is short and stable: it labels a counter."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class PathError(RefusedError):
    """A path that no tree may hold."""


class NeedsUpgradeError(RefusedError):
    """The sender uses a format, a message type or a need that this version does not know."""


class NoRoomError(TreecastError):
    """No space, quota, inodes or descriptors. Nothing was lost; the same act may be tried again."""

    retryable = True


class RootGoneError(TreecastError):
    """The source's root is missing, cannot be opened, or is another directory than the one that is open: nothing that is not
    found there may be taken for deleted. It may come back (a mount, a rename)."""

    retryable = True


class StateError(TreecastError):
    """A database of ours is corrupt, foreign, or of a version that this program does not know."""
