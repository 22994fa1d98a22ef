"""What the doctor makes of what it saw: how bad, what to do, how it reads."""

import json
import shlex
from dataclasses import replace

import pytest

from common.transport.ports import Link, Phase
from consumer.stagefiles import Mark
from consumer.starting import Start
from treecast.doctor import access, disks, findings, limits, local_queue, machine, page, reach
from treecast.doctor.accounts import Account, Right, harmful_rights, judge_rights, needed_rights, permissions_line
from treecast.doctor.findings import Finding, Severity, verdict

WELL, NOTE = findings.well("one", "as it should be"), findings.note("two", "good to know")
HURTS, BREAKS = findings.warning("three", "slow", "fast", "make it fast"), findings.error("four", "broken", "whole")
AWAY = replace(BREAKS, is_reach=True)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([WELL, NOTE], 0),
        ([WELL, HURTS], 1),
        ([HURTS, AWAY], 3),
        ([HURTS, AWAY, BREAKS], 4),
    ],
)
def test_the_worst_finding_is_the_exit_code(found: list[Finding], code: int) -> None:
    assert verdict(found) == code


def test_the_page_shows_what_is_not_well_worst_first_and_sums_up() -> None:
    text = page.page("heading", [WELL, NOTE, HURTS, BREAKS], shows_all=False)
    assert text.splitlines() == [
        "heading",
        "",
        "error    four   broken; needed: whole",
        "warning  three  slow; needed: fast",
        "    make it fast",
        "note     two    good to know",
        "",
        "1 error, 1 warning, 1 note; 1 of 4 checks are well; --all shows them too",
    ]


def test_the_page_shows_all_when_asked_and_says_when_all_is_well() -> None:
    assert "ok       one  as it should be" in page.page("heading", [WELL], shows_all=True).splitlines()
    assert (
        page.page("heading", [WELL], shows_all=False).splitlines()[-1] == "all 1 checks are well; --all shows them too"
    )


def test_a_line_to_paste_is_never_wrapped() -> None:
    todo = "rabbitmqctl " + "word " * 50 + "end"
    text = page.page("h", [findings.warning("name", "found " * 40, "x", todo)], shows_all=False, width=60)
    assert f"    {todo}" in text.splitlines()
    assert max(len(line) for line in text.splitlines() if "word" not in line) <= 60


def test_json_has_everything_in_the_order_of_looking() -> None:
    told = json.loads(json.dumps(page.as_json({"tree": "t"}, [WELL, HURTS])))
    assert (told["tree"], told["exit_code"]) == ("t", 1)
    assert [one["name"] for one in told["findings"]] == ["one", "three"]
    assert told["findings"][1]["todo"] == "make it fast"


# -- kernel limits


def size(directories: int, *, is_whole: bool = True) -> limits.TreeSize:
    return limits.TreeSize(directories, is_whole, "counted")


def test_fewer_watches_than_directories_is_a_warning_with_the_number_to_set() -> None:
    found = limits.judge_watches(limits.Limit(limits.WATCHES, 8192), size(600_000))
    assert found.severity is Severity.WARNING
    assert found.todo == (
        "sysctl -w fs.inotify.max_user_watches=2097152 && "
        "echo 'fs.inotify.max_user_watches = 2097152' >> /etc/sysctl.d/90-treecast.conf"
    )


def test_watches_that_just_suffice_are_a_note_and_plenty_is_well() -> None:
    assert limits.judge_watches(limits.Limit(limits.WATCHES, 8192), size(8000)).severity is Severity.NOTE
    assert limits.judge_watches(limits.Limit(limits.WATCHES, 524_288), size(8000)).severity is Severity.OK


def test_a_count_that_was_given_up_stands_for_more() -> None:
    assert limits.judge_watches(limits.Limit(limits.WATCHES, 150_000), size(100_000)).severity is Severity.OK
    given_up = limits.judge_watches(limits.Limit(limits.WATCHES, 150_000), size(100_000, is_whole=False))
    assert given_up.severity is Severity.NOTE
    assert "over 100,000 directories" in given_up.found


def test_the_lowest_limit_applies_and_is_the_one_to_raise() -> None:
    here, machine_wide = limits.Limit(limits.WATCHES_HERE, 3), limits.Limit(limits.WATCHES, 192_536)
    assert limits.lowest(machine_wide, here) == here
    assert limits.lowest(machine_wide, limits.Limit(limits.WATCHES_HERE, None)) == machine_wide
    assert "sysctl -w user.max_inotify_watches=" in limits.judge_watches(here, size(5)).todo


def test_no_instance_and_a_short_queue_and_few_descriptors_are_warnings() -> None:
    assert limits.judge_instances(limits.Limit(limits.INSTANCES, 128), "too many").severity is Severity.WARNING
    assert limits.judge_instances(limits.Limit(limits.INSTANCES, None), "").severity is Severity.OK
    assert limits.judge_events(1024, size(1)).severity is Severity.WARNING
    assert limits.judge_events(16_384, size(20_000)).severity is Severity.NOTE
    assert limits.judge_events(16_384, size(1)).severity is Severity.OK
    assert limits.judge_descriptors(256, "of this shell").severity is Severity.WARNING


# -- disks

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /srv rw,noatime - xfs /dev/vdb rw
31 22 0:26 / /srv/a\\040b ro,relatime - nfs4 server:/x ro
32 22 0:27 / /srv rw,strictatime - btrfs /dev/vdc rw
broken line
"""


def test_a_path_is_on_the_mount_that_hides_the_others() -> None:
    mounts = disks.parse_mounts(MOUNTS)
    kinds = {
        path: (mount := disks.mount_of(mounts, path)) and mount.kind for path in ("/", "/srv", "/srv/a b/c", "/srvx")
    }
    assert kinds == {"/": "ext4", "/srv": "btrfs", "/srv/a b/c": "nfs4", "/srvx": "ext4"}
    assert [one.point for one in disks.mounts_below(mounts, "/srv")] == ["/srv/a b"]
    assert disks.is_shared_kind("fuse.sshfs")
    assert not disks.is_shared_kind("fuseblk")


def test_a_read_only_target_is_an_error_and_a_read_only_source_is_none() -> None:
    mount = disks.mount_of(disks.parse_mounts(MOUNTS), "/srv/a b")
    (target,) = disks.judge_mount("target", "/srv/a b", mount, is_written=True)
    assert (target.severity, target.todo) == (Severity.ERROR, "mount -o remount,rw '/srv/a b'")
    (source,) = disks.judge_mount("source", "/srv/a b", mount, is_written=False)
    assert source.severity is Severity.OK


def test_room_is_judged_by_what_needs_it() -> None:
    def severity(free_bytes: int, inodes: int | None = None) -> list[Severity]:
        return [one.severity for one in disks.judge_room("r", "/x", disks.Room(free_bytes, inodes), 10**9, "a file")]

    assert severity(2 * 10**9, 50_000) == [Severity.OK]
    assert severity(10**8) == [Severity.WARNING]
    assert severity(10**6) == [Severity.ERROR]
    assert severity(2 * 10**9, 9) == [Severity.OK, Severity.WARNING]
    assert severity(2 * 10**9, 0) == [Severity.OK, Severity.ERROR]


def test_a_state_must_not_be_on_a_network_nor_in_memory() -> None:
    assert disks.judge_state_kind("/s", "nfs4", is_network=True).severity is Severity.ERROR
    assert disks.judge_state_kind("/s", "tmpfs", is_network=False).severity is Severity.WARNING
    assert disks.judge_state_kind("/s", "ext4", is_network=False).severity is Severity.OK


def test_what_a_staged_file_misses_is_told_one_by_one() -> None:
    """Label, ACL and group, each with its own line; a group that is set is no news."""
    plain = disks.Appearance(0, "", b"")
    probed = disks.Probed(plain, disks.Appearance(33, "u:object_r:web_t:s0", b"acl"), group="www-data")
    found = list(disks.judge_probe("/srv/x", probed, sets_group=False))
    assert [(one.name, one.severity) for one in found] == [
        ("label", Severity.WARNING),
        ("acl", Severity.WARNING),
        ("group", Severity.WARNING),
    ]
    assert "TREECAST_GROUP=www-data" in found[-1].todo
    assert [one.name for one in disks.judge_probe("/srv/x", probed, sets_group=True)] == ["label", "acl"]
    (same,) = disks.judge_probe("/srv/x", disks.Probed(plain, plain), sets_group=False)
    assert same.severity is Severity.OK


def test_a_stage_that_cannot_be_renamed_from_is_an_error() -> None:
    (found,) = disks.judge_probe("/srv/x", disks.Probed(None, None, "invalid cross-device link"), sets_group=False)
    assert found.severity is Severity.ERROR
    assert "cross-device" in found.found


# -- who may what


@pytest.mark.parametrize(
    ("start", "severity", "todo"),
    [
        (Start.CONTINUE, Severity.OK, ""),
        (Start.FILL, Severity.OK, ""),
        (Start.NEEDS_ADOPTION, Severity.ERROR, "treecast consume --adopt"),
        (Start.MARK_MISSING, Severity.ERROR, "findmnt -T /srv/x\nmv /var/s /var/s.old"),
        (Start.OTHER_MARK, Severity.ERROR, "rm /srv/x/.treecast/mark && treecast consume --adopt"),
    ],
)
def test_a_start_that_would_be_refused_is_an_error(start: Start, severity: Severity, todo: str) -> None:
    found = access.judge_start("/srv/x", "/var/s", start, Mark("id", "t", "a"), tree="t")
    assert (found.severity, found.todo) == (severity, todo)


def test_unreadable_and_unwritable_paths_are_warnings() -> None:
    sample = access.Sample(1000, 2, "a/b", is_whole=False)
    assert "2 of the first 1,000 paths" in access.judge_reading("/s", sample, "treecast").found
    assert access.judge_writing("/s", sample, "treecast").severity is Severity.WARNING
    assert access.judge_reading("/s", access.Sample(10, 0), "treecast").severity is Severity.OK


def test_looking_as_another_user_is_said() -> None:
    found = access.judge_who(access.Who("root", "treecast"), "treecast doctor", "/etc/treecast/consume.env")
    assert found.severity is Severity.NOTE
    assert shlex.split(found.todo)[:5] == ["sudo", "-u", "treecast", "sh", "-c"]
    assert access.judge_who(access.Who("root", ""), "x", "y").severity is Severity.OK


REPLICA = Account("replica-a", "treecast", "playlists", "replica-a")
PRODUCER = Account("producer", "treecast", "playlists")


def test_least_rights_are_well_for_either_role() -> None:
    for account in (REPLICA, PRODUCER):
        granted = dict.fromkeys(needed_rights(account), True) | dict.fromkeys(harmful_rights(account), False)
        assert {one.severity for one in judge_rights(account, granted)} == {Severity.OK}


def test_a_lacking_right_is_an_error_and_the_line_is_the_readmes() -> None:
    found = judge_rights(REPLICA, {Right("write", "treecast.playlists.upstream"): False})[0]
    assert found.severity is Severity.ERROR
    assert found.todo == permissions_line(REPLICA)
    assert shlex.split(found.todo)[-3:] == [
        "^$",
        r"^treecast\.playlists\.upstream$",
        r"^treecast\.playlists\.replica\.replica-a$",
    ]


def test_a_consumer_that_may_configure_its_queue_is_a_warning() -> None:
    granted = dict.fromkeys(needed_rights(REPLICA), True)
    granted[Right("configure", "treecast.playlists.replica.replica-a")] = True
    found = judge_rights(REPLICA, granted)[-1]
    assert (found.name, found.severity) == ("permissions-wide", Severity.WARNING)


# -- the way to the broker

FAR = reach.Way("broker.example.com", 5671, is_tls=True, is_verified=True, heartbeat_seconds=15)


@pytest.mark.parametrize(
    ("link", "code", "todo"),
    [
        (Link(Phase.OPEN), 0, ""),
        (Link(Phase.CONNECTING, "broker.example.com:5671: refused"), 3, "/dev/tcp/broker.example.com/5671"),
        (Link(Phase.CONNECTING, "certificate verify failed"), 4, "openssl"),
        (Link(Phase.REFUSED, "ACCESS_REFUSED - Login was refused"), 4, "change_password"),
        (Link(Phase.REFUSED, "x: ConnectionClosedByBroker: (530) 'vhost treecast not found'"), 4, "add_vhost treecast"),
        (Link(Phase.REFUSED, "access to vhost 'treecast' refused for user"), 4, "set_permissions"),
    ],
)
def test_each_way_not_to_get_in_has_its_own_line(link: Link, code: int, todo: str) -> None:
    found = reach.judge_link(link, FAR, REPLICA)
    assert verdict([found]) == code
    assert todo in found.todo


def test_tls_is_needed_for_anything_but_this_machine() -> None:
    plain = replace(FAR, is_tls=False)
    assert reach.judge_tls(plain, None).severity is Severity.WARNING
    assert reach.judge_tls(replace(plain, host="127.0.0.1"), None).severity is Severity.OK
    assert reach.judge_tls(replace(FAR, is_verified=False), None).severity is Severity.WARNING
    severities = [reach.judge_tls(FAR, days * 86_400.0).severity for days in (3, 20, 90)]
    assert severities == [Severity.WARNING, Severity.NOTE, Severity.OK]


def test_a_long_route_needs_a_kernel_that_keeps_its_window() -> None:
    assert reach.judge_route(FAR, 0.08, 1).severity is Severity.WARNING
    assert "tcp_slow_start_after_idle=0" in reach.judge_route(FAR, 0.08, 1).todo
    assert reach.judge_route(FAR, 0.08, 0).severity is Severity.OK
    assert reach.judge_route(FAR, 0.002, 1).severity is Severity.OK
    assert reach.judge_heartbeat(replace(FAR, heartbeat_seconds=600)).severity is Severity.WARNING


def test_the_server_must_be_one_that_was_tried() -> None:
    able = {"capabilities": {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True}}
    good = {"product": "RabbitMQ", "version": "3.10.8", **able}
    assert [one.severity for one in reach.judge_server(good)] == [Severity.OK]
    assert [one.severity for one in reach.judge_server({**good, "version": "3.8.9"})] == [Severity.WARNING]
    assert [one.severity for one in reach.judge_server({"product": "LavinMQ", "version": "2.0"})] == [
        Severity.WARNING,
        Severity.ERROR,
    ]
    assert reach.server_version({"product": "RabbitMQ", "version": "4.1.0-rc.1"}) == (4, 1, 0)


# -- the rest


def test_a_process_of_another_version_and_its_alarms_are_warnings() -> None:
    status = {"pid": 7, "version": "0.1", "state": "leading", "uptime_seconds": 3}
    status |= {"alarms": [{"kind": "hold", "detail": "5 deletes are held"}], "problem_count": 0}
    found = list(machine.judge_process(status, "0.2", "treecast-produce", "/s"))
    assert [(one.name, one.severity) for one in found] == [
        ("process", Severity.WARNING),
        ("alarm-hold", Severity.WARNING),
    ]
    assert found[0].todo == "systemctl restart treecast-produce"
    (none,) = machine.judge_process(None, "0.2", "treecast-produce", "/s")
    assert none.severity is Severity.OK


def test_a_queue_that_somebody_else_has_is_a_warning() -> None:
    held = local_queue.Holder(True, "host:9")
    assert local_queue.judge_holder("t.upstream", held, runs_here=False).severity is Severity.WARNING
    assert local_queue.judge_holder("t.upstream", held, runs_here=True).severity is Severity.OK
    assert local_queue.judge_consumers("q", 1, 0, runs_here=False).severity is Severity.WARNING
    assert local_queue.judge_file("/q", "nfs", "", is_network=True).severity is Severity.ERROR


def test_what_others_write_is_not_told_by_the_kernel() -> None:
    (found,) = machine.judge_watch("auto", "", "NFS", ())
    assert found.severity is Severity.WARNING
    (well,) = machine.judge_watch("auto", "", "", ())
    assert well.severity is Severity.OK
    assert [one.severity for one in machine.judge_watch("auto", "", "", ("/x (nfs)",))] == [
        Severity.OK,
        Severity.WARNING,
    ]


def test_a_clock_is_never_more_than_a_note() -> None:
    assert machine.judge_clock(False).severity is Severity.NOTE
    assert machine.judge_clock_difference(-3600).severity is Severity.NOTE
    assert machine.judge_clock_difference(1).severity is Severity.OK
