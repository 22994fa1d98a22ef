"""What the doctor says of RabbitMQ's queues: what refuses or forgets is found, and the line cures all of it at once."""

import json
import shlex

import pytest

from treecast.doctor.argued import IMPOSSIBLE, Argued, named_argument
from treecast.doctor.findings import Finding, Severity
from treecast.doctor.queues import Cure, Place, Queue, judge_replica_queues, judge_upstream_queue, policies_unseen

PLACE = Place("a vhost", "playlists", (3, 10, 8))
BOUNDED = {"max-length-bytes": 2 << 30, "expires": 7 * 86_400_000, "overflow": "drop-head"}


def queue(name: str = "a", **more: object) -> Queue:
    given = {"arguments": {}, "policy": {}, **more}
    return Queue(f"treecast.playlists.replica.{name}", **given)  # type: ignore[arg-type]


def judged(*queues: Queue, place: Place = PLACE) -> list[Finding]:
    return judge_replica_queues(queues, Cure.of(queues, place))


def named(name: str, findings: list[Finding]) -> Finding:
    (found,) = [one for one in findings if one.name == name]
    return found


def definition(line: str) -> dict[str, object]:
    """What a policy's line would set."""
    found: dict[str, object] = json.loads(shlex.split(line)[-1])
    return found


def test_a_queue_as_the_readme_makes_it_is_well() -> None:
    found = judged(queue(policy=BOUNDED, policy_name="replicas"))
    assert {one.severity for one in found} == {Severity.OK}
    assert "2.1 GB" in named("queue-bounds", found).found


def test_a_policy_that_refuses_is_an_error_with_a_policy_that_does_not() -> None:
    """All else of what applied stays, it goes before the one that was found, and other trees are left alone."""
    refusing = queue(policy={**BOUNDED, "overflow": "reject-publish"}, policy_name="limits", policy_priority=7)
    found = named("queue-overflow", judged(refusing))
    assert found.severity is Severity.ERROR
    assert "by the policy limits" in found.found
    assert "one full queue punishes everyone" in found.found
    words = shlex.split(found.todo)
    assert words[:8] == ["rabbitmqctl", "set_policy", "-p", "a vhost", "--priority", "8", "--apply-to", "queues"]
    assert words[8:10] == ["treecast-playlists", r"^treecast\.playlists\.replica\."]
    assert definition(found.todo) == BOUNDED


@pytest.mark.parametrize("word", ["reject-publish", "reject-publish-dlx"])
def test_an_argument_that_refuses_goes_with_its_queue_only(word: str) -> None:
    """No policy helps against an argument, not even where one says otherwise."""
    found = named("queue-overflow", judged(queue(arguments={"x-overflow": word}, policy=BOUNDED)))
    assert found.severity is Severity.ERROR
    assert found.todo == "rabbitmqctl delete_queue -p 'a vhost' treecast.playlists.replica.a"


def test_an_argument_that_does_not_refuse_beats_a_policy_that_does() -> None:
    one = queue(arguments={"x-overflow": "drop-head"}, policy={**BOUNDED, "overflow": "reject-publish"})
    assert named("queue-overflow", judged(one)).severity is Severity.OK


def test_several_queues_are_cured_by_one_line() -> None:
    """One policy for all: of several, the last pasted would undo the others."""
    refusing = queue("a", policy={**BOUNDED, "overflow": "reject-publish"})
    tight = queue("b", policy={**BOUNDED, "max-length": 5})
    found = judged(refusing, tight)
    lines = {one.todo for one in found if one.todo}
    assert len(lines) == 1
    assert definition(lines.pop()) == {**BOUNDED, "max-length": 1_000_000}


def test_what_is_alike_is_told_once() -> None:
    found = judged(*(queue(f"r{number}", policy={"overflow": "reject-publish"}) for number in range(300)))
    overflow = named("queue-overflow", found)
    assert "r0" in overflow.found
    assert "and 297 more" in overflow.found
    assert len(found) == 2


def test_a_queue_without_a_bound_is_a_warning_only_where_policies_were_seen() -> None:
    assert named("queue-bounds", judged(queue())).severity is Severity.WARNING
    assert definition(named("queue-bounds", judged(queue())).todo) == BOUNDED
    assert named("queue-bounds", judged(queue(policy=None))).severity is Severity.OK


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"max-length": 5}, "queue-bounds"),
        ({"max-length-bytes": 1_000_000}, "queue-bounds"),
        ({"message-ttl": 60_000}, "queue-message-ttl"),
        ({"expires": 60_000}, "queue-expires"),
    ],
)
def test_what_is_forgotten_too_soon_is_a_warning_by_policy_or_argument(limits: dict[str, int], name: str) -> None:
    by_policy = named(name, judged(queue(policy={**BOUNDED, **limits})))
    by_argument = named(name, judged(queue(arguments={f"x-{key}": it for key, it in limits.items()}, policy=BOUNDED)))
    assert by_policy.severity is by_argument.severity is Severity.WARNING
    assert definition(by_policy.todo).items() > {}.items()
    assert all(definition(by_policy.todo)[key] > limit for key, limit in limits.items())  # type: ignore[operator]
    assert "delete_queue" in by_argument.todo


def test_quorum_queues_must_not_drop_what_comes_again() -> None:
    """From 4.0 on they do so unless told otherwise; before, only where told."""
    old, new = PLACE, Place("/", "playlists", (4, 1, 0))
    one = queue(arguments={"x-queue-type": "quorum"}, policy=BOUNDED)
    assert [it.name for it in judged(one, place=old) if it.severity is not Severity.OK] == []
    found = named("queue-delivery-limit", judged(one, place=new))
    assert definition(found.todo)["delivery-limit"] == -1
    limited = queue(arguments={"x-queue-type": "quorum", "x-delivery-limit": 5}, policy=BOUNDED)
    assert "5 times" in named("queue-delivery-limit", judged(limited, place=old)).found


@pytest.mark.parametrize("arguments", [{"x-queue-type": "stream"}, {"x-single-active-consumer": True}])
def test_a_queue_that_cannot_be_consumed_alone_is_an_error(arguments: dict[str, object]) -> None:
    assert named("queue-type", judged(queue(arguments=arguments, policy=BOUNDED))).severity is Severity.ERROR


def test_a_queue_that_gets_nothing_is_an_error() -> None:
    bound = frozenset({"", "treecast.playlists.events"})
    found = named("queue-bindings", judged(queue(policy=BOUNDED, sources=bound)))
    assert found.severity is Severity.ERROR
    assert found.found.endswith("not bound to treecast.playlists.direct")


def test_what_was_not_seen_is_said_and_nothing_is_claimed_of_it() -> None:
    assert judged(Queue("treecast.playlists.replica.a", None)) == []
    unseen = policies_unseen(PLACE, sees_arguments=False)
    assert (unseen.severity, unseen.found.startswith("not checked: ")) == (Severity.NOTE, True)
    assert "list_policies -p 'a vhost'" in unseen.todo


def test_the_way_to_the_producer_must_not_refuse_either() -> None:
    upstream = Queue("treecast.playlists.upstream", {"x-max-length": 20_000}, {"overflow": "reject-publish"}, "limits")
    assert judge_upstream_queue(upstream, Cure.of([], PLACE)).severity is Severity.WARNING


INEQUIVALENT = "PRECONDITION_FAILED - inequivalent arg '{}' for queue 'treecast.t.replica.a' in vhost '/': {} (406)"


@pytest.mark.parametrize(
    ("key", "said", "value"),
    [
        ("x-overflow", "received none but current is the value 'reject-publish' of type 'longstr'", "reject-publish"),
        ("x-overflow", "received 'treecast-doctor' but current is 'reject-publish'", "reject-publish"),
        ("x-expires", "received '-1' but current is '100000'", 100_000),
        ("x-max-length", "received the value '-1' of type 'signedint' but current is none", None),
        ("x-single-active-consumer", "received none but current is the value 'true' of type 'bool'", True),
    ],
)
def test_a_refusal_names_an_argument_and_its_value(key: str, said: str, value: object) -> None:
    """In RabbitMQ's own words, of which there are three kinds."""
    assert named_argument(INEQUIVALENT.format(key, said)) == (key, value)


@pytest.mark.parametrize("words", ["", "NOT_FOUND - no queue 'a' in vhost '/' (404)", "inequivalent arg 'durable'"])
def test_other_words_name_nothing(words: str) -> None:
    assert named_argument(words) is None


def test_arguments_are_learned_without_ever_asking_for_a_queue_that_could_be_made() -> None:
    """Against a broker that names the first difference: what matters is found, and each question holds what no queue can have."""
    real = {"x-overflow": "reject-publish", "x-max-length": 1, "x-another": "is"}
    argued = Argued()
    while (asked := argued.next_arguments()) is not None:
        assert any(asked.get(key) == impossible for key, impossible in IMPOSSIBLE.items())
        differing = next(key for key in sorted({*asked, *real}) if asked.get(key) != real.get(key))
        now = f"'{real[differing]}'" if differing in real else "none"
        heard = argued.heard(INEQUIVALENT.format(differing, f"received 'x' but current is {now}"))
        assert heard is not None
        argued = heard
    assert argued.arguments == real
