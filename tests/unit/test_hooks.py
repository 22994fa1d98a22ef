"""What a hook is, when it runs, and what it is told: decided without a process."""

import pytest

from common.entries import Kind, Position, directory_entry, file_entry, symlink_entry
from common.hooks import HookCommand, HookUrl, parse_hook, shown
from consumer import hook_timing
from consumer.changes import Change, Via, What, changed_paths, changes_in, in_doubt, via
from consumer.hook_calls import Facts, one_line
from consumer.hook_record import collapsed
from consumer.hook_timing import HookTiming, Seen
from consumer.values import Drift, MakeDirectory, Outcome, Plan, Put, Reason, Row, Standing, Step, Told, Touch, Unmet

FILE = file_entry(0o644, 5, 3, b"1" * 32)
AT = Position(7, 42)
STANDING = Standing(7, b"i" * 16, bytes(32), 50, b"", b"", {}, None, 1)


# -- the setting


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/usr/bin/purge --all", ("/usr/bin/purge", "--all")),
        ("sh -c 'cat > \"$HOME/x\"'", ("sh", "-c", 'cat > "$HOME/x"')),
        ("purge $(reboot); `x`", ("purge", "$(reboot);", "`x`")),
        (["a b", ""], ("a b", "")),
    ],
)
def test_a_command_is_words_and_no_shell_is_asked(given: object, words: tuple[str, ...]) -> None:
    assert parse_hook(given) == HookCommand(words)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x?y=1", "https://[::1]/", "HTTPS://example.com"])
def test_a_url_is_told_from_a_command(url: str) -> None:
    assert parse_hook(url) == HookUrl(url)


@pytest.mark.parametrize(
    "given",
    [
        "", "   ", "'unbalanced", [], [""], ["a", 5], 5, "a\0b", "http://", "http://user:secret@host/", "https://h:99999/",
        "https://h/#x", "https://h/a b", "https://h/é", "http://h:0/",
    ],
)  # fmt: skip
def test_what_is_neither_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="a command"):
        parse_hook(given)


def test_what_may_be_secret_is_not_shown() -> None:
    """No query and no login of a URL, no argument of a command in a log."""
    assert shown("https://user:geheim@host/path?token=geheim") == "https://host/path?***"
    assert str(HookUrl("https://host/path?token=geheim")) == "https://host/path?***"
    assert str(HookCommand(("curl", "-H", "Authorization: geheim"))) == "curl"


# -- when


DUE = Seen(True, 0, 0)


def test_it_runs_at_a_consistent_point_only() -> None:
    """Something waits, no bucket is stale, no content is missing."""
    assert HookTiming().may_run(DUE, 1.0)
    assert not HookTiming().may_run(Seen(False, 0, 0), 1.0)
    assert not HookTiming().may_run(Seen(True, 1, 0), 1.0)
    assert not HookTiming().may_run(Seen(True, 0, 1), 1.0)


def test_a_content_that_never_comes_is_waited_for_once() -> None:
    """Neither the change beside it waits for ever, nor each later one for as long again; another content does."""
    timing, limit = HookTiming(), hook_timing.MISSING_LIMIT_SECONDS
    assert not timing.may_run(Seen(True, 0, 1), 100.0)
    assert not timing.may_run(Seen(True, 0, 1), 99.0 + limit)
    assert timing.may_run(Seen(True, 0, 1), 100.0 + limit)
    assert timing.may_run(Seen(True, 0, 1), 5000.0)
    assert not timing.may_run(Seen(True, 0, 2), 6000.0)
    assert timing.may_run(Seen(True, 0, 1), 6001.0 + limit)


def test_one_run_at_a_time_and_not_one_for_each_batch() -> None:
    timing, due = HookTiming(), DUE
    assert timing.may_run(due, 100.0)
    timing.began(100.0)
    assert not timing.may_run(due, 500.0)
    timing.succeeded()
    assert not timing.may_run(due, 100.0 + hook_timing.GAP_SECONDS / 2)
    assert timing.may_run(due, 100.0 + hook_timing.GAP_SECONDS)


def test_after_failures_it_waits_longer_and_longer_and_a_success_ends_that() -> None:
    timing, due, now, waits = HookTiming(), DUE, 0.0, []
    for _ in range(12):
        timing.began(now)
        waits.append(timing.failed(now, 0.0))
        assert not timing.may_run(due, now + waits[-1] - 0.01)
        now += waits[-1]
        assert timing.may_run(due, now)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == hook_timing.LONGEST_RETRY_SECONDS
    timing.began(now)
    timing.succeeded()
    assert timing.failures == 0
    assert timing.failed(now, 0.0) == 1


def test_an_alarm_comes_after_some_failures() -> None:
    timing = HookTiming()
    for number in range(1, hook_timing.ALARM_FAILURES + 1):
        timing.failed(0.0, 0.5)
        assert timing.is_alarming == (number == hook_timing.ALARM_FAILURES)


# -- what


def test_each_path_is_told_once_in_order() -> None:
    assert collapsed(b"b\0a\nx\0b\0\xff\0") == b"a\nx\0b\0\xff\0"
    assert collapsed(b"") == b""


def test_nothing_of_ours_is_in_the_environment_but_the_facts() -> None:
    facts = Facts("music", "paris", "/srv/m", AT, is_everything=False)
    found = facts.environment({"PATH": "/bin", "TREECAST_BROKER": "amqp://u:geheim@h/", "TREECAST_TREE": "x"})
    assert found == {
        "PATH": "/bin",
        "TREECAST_TREE": "music",
        "TREECAST_REPLICA": "paris",
        "TREECAST_TARGET": "/srv/m",
        "TREECAST_POSITION": "7.42",
        "TREECAST_CHANGED": "list",
    }
    assert facts._replace(is_everything=True).headers() == {
        "Treecast-Tree": "music",
        "Treecast-Replica": "paris",
        "Treecast-Position": "7.42",
        "Treecast-Changed": "all",
    }


def test_a_detail_is_one_printable_line() -> None:
    assert one_line("a\x1b[31m\nb\r") == "a [31m b"
    assert len(one_line("x" * 5000)) == 200


def test_what_changed_is_what_was_done_and_did_not_fail() -> None:
    plan = Plan(
        clear=(b"room",),
        directories=(MakeDirectory(b"d", 0o755),),
        contents=(Put(b"room", FILE, b"abc"), Touch(b"t", FILE), Put(b"failed", FILE, b"abc")),
        remove=(b"gone", b"protected"),
    )
    outcome = Outcome(unmet={b"failed": Unmet(Reason.PROBLEM)}, kept=(b"protected",))
    assert changed_paths(plan, outcome) == [b"room", b"d", b"t", b"gone"]
    assert changed_paths(plan, Outcome()) == [b"room", b"d", b"t", b"failed", b"gone", b"protected"]


def test_after_a_crash_what_the_disk_shows_otherwise_or_was_missing_may_have_changed() -> None:
    rows = {b"same": Row(FILE, AT), b"other": Row(FILE, AT), b"gone": Row(FILE, AT), b"missing": Row(FILE, AT)}
    on_disk = {b"same": FILE, b"other": FILE._replace(size=4), b"new": FILE, b"missing": FILE}
    paths = [b"same", b"other", b"gone", b"new", b"missing", b"nowhere"]
    found = in_doubt(rows, {b"missing": Unmet(Reason.BODY)}, on_disk, paths)
    assert found == [b"other", b"gone", b"new", b"missing"]


@pytest.mark.parametrize(
    ("before", "entry", "what"),
    [
        (None, FILE, What.CREATE),
        (FILE, FILE._replace(digest=b"2" * 32), What.MODIFY),
        (directory_entry(0o755), FILE, What.MODIFY),
        (FILE, FILE._replace(mode=0o600, mtime_ns=6), What.MODE),
        (FILE, FILE._replace(mtime_ns=6), What.MTIME),
        (FILE, FILE._replace(owner="a:b"), What.OWNER),
        (FILE, FILE, What.PLACE),
        (symlink_entry(2, b"3" * 32), None, What.DELETE),
        (None, None, What.DELETE),
    ],
)
def test_a_change_says_in_what(before: object, entry: object, what: What) -> None:
    rows = {b"p": Row(before, AT)} if before is not None else {}  # type: ignore[arg-type]
    told = Told(entry, AT)  # type: ignore[arg-type]
    plan = Plan(contents=(Put(b"p", FILE, b""),)) if entry is not None else Plan(remove=(b"p",))
    (change,) = changes_in(Step(STANDING, want={b"p": told}), plan, Outcome(), rows)
    assert (change.path, change.what, change.at) == (b"p", what, AT)


def test_a_corrected_guess_has_the_position_of_the_step_and_what_was_there() -> None:
    plan = Plan(remove=(b"p",), corrections={b"p": None})
    found = changes_in(Step(STANDING), plan, Outcome(), {b"p": Row(FILE, None)})
    assert found == [Change(b"p", What.DELETE, Kind.FILE, 3, Position(7, 50))]


def test_how_a_change_came() -> None:
    assert via(Step(STANDING, recent=((5, b"hash"),))) is Via.STREAM
    assert via(Step(STANDING, drift={b"p": Drift.EDITED})) is Via.REPAIR
    assert via(Step(STANDING)) is Via.SYNC
