"""Decides what follows from who may read and write what. Values in, findings out; touches no disk."""

from dataclasses import dataclass

from consumer.stagefiles import Mark
from consumer.starting import Start
from treecast.doctor.findings import Finding, error, note, quoted, warning, well


@dataclass(frozen=True, slots=True)
class Sample:
    """What was tried: how many paths, how many were `refused`, the `first` of these, printable. `is_whole`: it was all."""

    looked: int
    refused: int
    first: str = ""
    is_whole: bool = True

    @property
    def counted(self) -> str:
        """How many were looked at, in words."""
        return f"{'all' if self.is_whole else 'the first'} {self.looked:,}"


@dataclass(frozen=True, slots=True)
class Who:
    """Who looks, and to whom the state of the service belongs ("" where there is none yet)."""

    user: str
    state_owner: str


def judge_who(who: Who, command: str, environment_file: str) -> Finding:
    """What one user may do says nothing of another."""
    if who.state_owner and who.state_owner != who.user:
        found = f"looked at as {who.user}, but the state belongs to {who.state_owner}"
        line = f"set -a; . {environment_file}; {command}"
        return note(
            "user",
            found,
            "the service's own user, for what it may do",
            f"sudo -u {who.state_owner} sh -c {quoted(line)}",
        )
    return well("user", f"looked at as {who.user}")


def judge_root(name: str, path: str, refusal: str, needed: str, todo: str) -> Finding:
    """`refusal`: why the directory does not serve; "" when it does."""
    return error(name, f"{path}: {refusal}", needed, todo) if refusal else well(name, f"{path} serves")


def judge_reading(path: str, sample: Sample, user: str) -> Finding:
    """May this user read the whole source? What it may not is a problem that is shown, and is not on replicas."""
    if sample.refused:
        found = f"{sample.refused:,} of {sample.counted} paths cannot be read by {user}, such as {sample.first}"
        line = f"setfacl -R -m u:{user}:rX -m d:u:{user}:rX {quoted(path)}"
        return warning("readable", found, "the right to read all: what cannot be read is on no replica", line)
    return well("readable", f"{user} may read {sample.counted} paths")


def judge_writing(path: str, sample: Sample, user: str) -> Finding:
    """May this user change every directory of the target? Where it may not, a path stays as it is, and is shown."""
    if sample.refused:
        found = (
            f"{sample.refused:,} of {sample.counted} directories cannot be written by {user}, such as {sample.first}"
        )
        return warning(
            "writable", found, "the target's directories to be its own", f"chown -R {quoted(user)} {quoted(path)}"
        )
    return well("writable", f"{user} may write to {sample.counted} directories")


def judge_appearance(refusal: str) -> Finding:
    """`refusal`: why owners or the group cannot be made as set, "" when they can."""
    if not refusal:
        return well("owner", "owners and group can be made as set")
    todo = (
        "mkdir -p /etc/systemd/system/treecast-consume.service.d && "
        "printf '[Service]\\nAmbientCapabilities=CAP_CHOWN\\nCapabilityBoundingSet=CAP_CHOWN\\n' "
        "> /etc/systemd/system/treecast-consume.service.d/owner.conf && "
        "systemctl daemon-reload && systemctl restart treecast-consume"
    )
    return error("owner", refusal, "a process that may give files away", todo)


def judge_start(target: str, state: str, start: Start, mark: Mark | None, *, tree: str) -> Finding:
    """Whether a start would go on without a person."""
    here = quoted(target)
    if start is Start.NEEDS_ADOPTION:
        found = f"{target} holds files, and is no replica yet"
        needed = "an empty directory, or an adoption: what is equal stays, the rest goes aside for 7 days"
        return error("mark", found, needed, "treecast consume --adopt")
    if start is Start.MARK_MISSING:
        found = f"{target} carries no mark, and the state {state} knows one"
        needed = "the disk, if it is not mounted; for a new target, the state moved away"
        return error("mark", found, needed, f"findmnt -T {here}\nmv {quoted(state)} {quoted(state + '.old')}")
    if start is Start.OTHER_MARK:
        whose = f"the replica {mark.replica} of the tree {mark.tree}" if mark is not None else "another"
        needed = f"another target; or, to make it a replica of {tree}, an adoption"
        return error(
            "mark", f"{target} is marked as {whose}", needed, f"rm {here}/.treecast/mark && treecast consume --adopt"
        )
    if mark is None:
        return well("mark", f"{target} becomes a replica at the first start")
    return well("mark", f"{target} is a replica of {mark.tree}")
