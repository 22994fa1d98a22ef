"""A producer that cannot vouch for its journal compares with a replica before it publishes; a person has the last word."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.entries import Position
from common.errors import AlreadyRunningError, StoppedError
from common.holds import HoldLimit
from common.messages import Batch, Call, Heartbeat, ReplicaState, Report, Trial
from common.wire import codec
from producer.announced import Wish
from producer.epoch_orders import epoch_handlers, leave_wish, told_by
from producer.vouching import CALL_SECONDS, REPLICAS_SPEAK_SECONDS
from tests.running_producer import TREE, RunningProducer
from tests.twins import MemoryBroker

LIMIT = HoldLimit(20, 10, 50)
FILES = 200


class World:
    """A source, its producer, and a replica that is heard but not there: it says what a test lets it say."""

    def __init__(self, base: Path) -> None:
        self.root, self.state = base / "source", base / "state"
        self.root.mkdir()
        for number in range(FILES):
            (self.root / f"{number}").write_text(f"content {number}")
        self.broker = MemoryBroker()
        self.broker.publisher().make_queue("paris")
        self.running: RunningProducer | None = None

    @property
    def producer(self) -> RunningProducer:
        assert self.running is not None
        return self.running

    def run(self, **options: Any) -> RunningProducer:
        """A run begins."""
        self.running = RunningProducer(self.root, self.state, self.broker, hold=LIMIT, **options)
        return self.running

    def live(self) -> RunningProducer:
        """A run begins, and replicas say nothing."""
        self.run().settle()
        return self.producer

    def end(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None

    def lose_journal(self) -> None:
        self.end()
        shutil.rmtree(self.state)

    def say(self, position: Position, instance: bytes, **details: Any) -> None:
        """The replica reports."""
        told = {"entries": FILES, **details}
        self.broker.say(
            codec.encode(Report(TREE, "paris", instance, position, True, ReplicaState.FOLLOWING, 0, "1", 1, 0, told))
        )

    def say_level(self, **details: Any) -> None:
        """It reports to be where the producer stands."""
        stand = self.producer.journal.stand
        self.say(stand.position, stand.lineage.instance, **details)

    @property
    def trials(self) -> list[Trial]:
        """What was sent to it."""
        found = [codec.decode_downstream(data, TREE) for _, data in self.broker.direct]
        return [one for one in found if isinstance(one, Trial)]

    @property
    def calls(self) -> list[Call]:
        """What went to all."""
        found = [codec.decode_downstream(data, TREE) for data in self.broker.calls]
        return [one for one in found if isinstance(one, Call)]

    def until_called(self) -> str:
        """The call, as an answer names it."""
        seen = len(self.calls)
        self.producer.run_until(lambda: len(self.calls) > seen, "called")
        return self.calls[-1].lineage.instance.hex()

    def until_tried(self) -> Trial:
        seen = len(self.trials)
        self.producer.run_until(lambda: len(self.trials) > seen, "tried")
        return self.trials[-1]

    def count(self, creates: int, modifies: int, deletes: int) -> None:
        """It has compared, as it stands at epoch 50."""
        trial = self.trials[-1]
        counts = {"trial_creates": creates, "trial_modifies": modifies, "trial_deletes": deletes}
        self.say(Position(50, 3), b"i" * 16, trial_epoch=trial.lineage.epoch, trial_digest=trial.digest.hex(), **counts)

    @property
    def word(self) -> str:
        """The producer's state, for a person."""
        return str(self.producer.board.status()["state"])

    def until(self, word: str) -> None:
        self.producer.run_until(lambda: self.word == word, word)

    @property
    def published(self) -> list[Batch | Heartbeat]:
        found = [codec.decode_downstream(data, TREE) for data in self.broker.events]
        return [one for one in found if isinstance(one, Batch | Heartbeat)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def unknown(world: World) -> Trial:
    """A new journal, and a replica that follows epoch 50."""
    world.say(Position(50, 3), b"i" * 16)
    world.run()
    return world.until_tried()


def doubted(world: World) -> None:
    """Beyond the limit."""
    unknown(world)
    world.count(0, 0, 101)
    world.until("doubting")


def test_a_lost_journal_is_compared_before_anything_is_published_and_goes_by_itself_within_the_limit(
    world: World,
) -> None:
    trial = unknown(world)
    assert world.word == "comparing"
    assert not world.published
    assert trial.digest == world.producer.journal.stand.digest
    world.count(0, 5, 5)
    world.until("leading")
    assert world.producer.journal.stand.released
    assert "trial" not in world.producer.alarms()
    assert world.published[0].lineage == trial.lineage


def test_beyond_the_limit_nothing_is_published_and_the_counts_and_what_to_type_are_shown(world: World) -> None:
    doubted(world)
    alarm = world.producer.board.alarms()["trial"].what
    assert "101 deletes" in alarm
    assert "treecast epoch start --state" in alarm
    (world.root / "more").write_text("more")
    world.producer.run_until(lambda: world.producer.journal.stand.entries == FILES + 1, "taken into the index")
    assert not world.published
    assert not world.producer.board.is_ready


def test_it_waits_over_a_restart_also_without_the_replica(world: World) -> None:
    doubted(world)
    world.end()
    world.run()
    world.producer.skip(100)
    world.until("doubting")
    world.producer.skip(100)
    for _ in range(20):
        world.producer.step()
    assert "trial" in world.producer.alarms()
    assert not world.published


def test_a_person_lets_it_through_and_every_delete_is_released(world: World) -> None:
    doubted(world)
    done = epoch_handlers(world.producer.pipeline, world.producer.now)["epoch-start"]({})
    assert done["done"] == "approved"
    world.until("leading")
    assert world.published[0].released
    assert world.producer.journal.announced.doubt is None


def test_when_the_files_are_back_it_is_compared_again_and_goes_by_itself(world: World) -> None:
    doubted(world)
    (world.root / "back").write_text("back")
    world.producer.run_until(lambda: world.producer.journal.stand.entries == FILES + 1, "taken into the index")
    world.producer.skip(6)
    trial = world.until_tried()
    assert trial.digest == world.producer.journal.stand.digest
    world.count(1, 0, 0)
    world.until("leading")


def test_while_a_replica_compares_the_index_stays_as_it_is_and_what_changed_is_published_later(world: World) -> None:
    trial = unknown(world)
    (world.root / "later").write_text("later")
    world.producer.run_until(lambda: world.producer.board.status()["dirty"] > 0, "dirty")
    assert world.producer.journal.stand.digest == trial.digest
    world.count(0, 0, 0)
    world.producer.run_until(lambda: any(isinstance(one, Batch) for one in world.published), "published")


def test_a_journal_that_was_restored_is_made_anew_and_compared(world: World, tmp_path: Path) -> None:
    """No pair of epoch and sequence is repeated, what it had left to publish is not published, what it held is not held."""
    world.live()
    world.say_level()
    world.producer.step()
    world.end()
    shutil.copytree(world.state, tmp_path / "backup")
    (world.root / "new").write_text("new")
    world.live()
    world.say_level()
    world.producer.step()
    later = world.producer.journal.stand
    world.end()
    shutil.rmtree(world.state)
    shutil.copytree(tmp_path / "backup", world.state)
    world.broker.events.clear()
    world.say(later.position, later.lineage.instance)
    world.run()
    trial = world.until_tried()
    assert trial.lineage.epoch > later.lineage.epoch
    assert b"new" in world.producer.journal.entries([b"new"])
    assert not world.published
    world.count(0, 0, 0)
    world.until("leading")
    assert not [one for one in world.published if isinstance(one, Batch)]


def restored(world: World, backup: Path) -> Position:
    """A journal of before the last position that was published, a moment after that was. Nobody has spoken since."""
    world.live()
    world.say_level()
    world.producer.step()
    world.end()
    shutil.copytree(world.state, backup)
    (world.root / "new").write_text("new")
    world.live()
    later = world.producer.journal.stand.position
    world.end()
    shutil.rmtree(world.state)
    shutil.copytree(backup, world.state)
    world.broker.events.clear()
    return later


def test_a_replica_that_has_just_spoken_is_called_so_that_a_journal_restored_at_once_is_not_believed(
    world: World, tmp_path: Path
) -> None:
    later = restored(world, tmp_path / "backup")
    world.run()
    called = world.until_called()
    world.producer.step()
    assert not world.published
    world.say(later, b"x" * 16, called=called)
    world.until_tried()
    assert not world.published


def test_a_known_journal_is_announced_as_soon_as_all_have_answered_the_call(world: World) -> None:
    world.live()
    world.say_level()
    world.producer.step()
    at = world.producer.journal.stand
    world.end()
    world.broker.events.clear()
    world.run()
    world.say(at.position, at.lineage.instance, called=world.until_called())
    world.until("leading")
    assert len(world.calls) == 2, "one in each run"


def test_a_fresh_copy_releases_nothing_before_those_who_were_there_have_had_time_to_speak(world: World) -> None:
    world.say(Position(0, 0), bytes(16), entries=0)
    world.run().run_until(lambda: world.producer.journal.is_base_complete, "found")
    world.producer.skip(CALL_SECONDS)
    world.until("leading")
    world.say_level()
    world.producer.step()
    assert not world.producer.journal.stand.released
    world.producer.skip(REPLICAS_SPEAK_SECONDS)
    world.producer.step()
    world.say_level()
    world.producer.step()
    assert world.producer.journal.stand.released


def test_an_outbox_of_a_restored_journal_goes(world: World, tmp_path: Path) -> None:
    world.live()
    world.broker.confirms = False
    (world.root / "new").write_text("new")
    world.producer.run_until(lambda: world.producer.journal.stand.sequence == 1, "numbered")
    at = world.producer.journal.stand
    world.producer.crash()
    world.broker.confirms, world.running = True, None
    world.broker.events.clear()
    world.say(Position(at.lineage.epoch, 9), at.lineage.instance)
    world.run()
    world.until_tried()
    assert not list(world.producer.journal.outbox.unconfirmed())
    assert not world.published


def test_a_journal_that_is_not_behind_publishes_what_was_left_and_goes_on(world: World) -> None:
    world.live()
    world.broker.confirms = False
    (world.root / "new").write_text("new")
    world.producer.run_until(lambda: world.producer.journal.stand.sequence == 1, "numbered")
    world.say_level()
    world.producer.step()
    world.producer.crash()
    at, world.running = world.producer.journal.stand, None
    world.broker.confirms = True
    world.broker.events.clear()
    world.say(Position(at.lineage.epoch, 0), at.lineage.instance)
    world.run().run_until(lambda: len(world.published) >= 2, "published")
    first, second = world.published[:2]
    assert isinstance(first, Batch)
    assert first.lineage.epoch == at.lineage.epoch
    assert isinstance(second, Heartbeat)
    assert second.lineage.epoch > at.lineage.epoch
    assert not world.trials


def test_an_unannounced_epoch_is_drawn_above_what_a_replica_follows_and_is_no_reason_to_end(world: World) -> None:
    world.say(Position(1 << 40, 3), b"i" * 16)
    world.run()
    assert world.until_tried().lineage.epoch > 1 << 40


def test_a_person_begins_a_new_epoch_between_two_rounds_and_the_tree_is_not_sent_again(world: World) -> None:
    """So a fork is healed: who reports one follows the next epoch."""
    world.live()
    world.say_level(forked=True)
    world.producer.step()
    handlers = epoch_handlers(world.producer.pipeline, world.producer.now)
    assert handlers["epoch-show"]({})["forked"] == ["paris"]
    assert world.producer.alarms() == {"fork"}
    before = world.producer.journal.stand
    assert handlers["epoch-start"]({})["done"] == "begun"
    world.producer.step()
    last = world.published[-1]
    assert isinstance(last, Heartbeat)
    assert last.lineage.epoch > before.lineage.epoch
    assert last.digest == before.digest
    world.say_level()
    world.producer.step()
    assert not world.producer.alarms()
    (world.root / "on").write_text("it goes on")
    world.producer.run_until(lambda: isinstance(world.published[-1], Batch), "published")
    assert world.published[-1].lineage == last.lineage


def test_who_waits_behind_another_is_refused_a_start_and_told_who_leads(world: World) -> None:
    world.broker.holder = "there:42"
    world.run().step()
    with pytest.raises(StoppedError, match="there:42"):
        epoch_handlers(world.producer.pipeline)["epoch-start"]({})
    world.broker.holder = ""


def test_who_takes_over_publishes_while_the_other_holds_the_queue_and_replicas_judge_its_deletes(world: World) -> None:
    world.live()
    world.end()
    world.broker.events.clear()
    world.broker.holder = "there:42"
    (world.root / "new").write_text("new")
    world.run().step()
    handlers = epoch_handlers(world.producer.pipeline, world.producer.now)
    assert handlers["epoch-start"]({"take_over": True})["done"] == "taken over"
    world.producer.run_until(lambda: bool(world.published), "published")
    assert world.published[0].released == 0
    assert b"new" in world.producer.journal.entries([b"new"]), (
        "what is in the source counts, not what an old index says"
    )
    world.producer.skip(61)
    world.producer.step()
    assert "take-over" in world.producer.alarms(), "nobody hears the replicas' questions"
    epoch = world.producer.journal.stand.lineage.epoch
    world.broker.holder = ""
    world.producer.run_until(lambda: "take-over" not in world.producer.alarms(), "heard")
    assert world.producer.journal.stand.lineage.epoch == epoch
    assert handlers["epoch-show"]({})["standing"] == "leads"


def test_who_lost_its_place_ends_and_says_so(world: World) -> None:
    world.live()
    epoch = world.producer.journal.stand.lineage.epoch
    world.say(Position(epoch + 5, 0), b"x" * 16)
    with pytest.raises(AlreadyRunningError, match="taken over"):
        world.producer.step()


def test_a_wish_left_in_the_journal_is_honoured_by_the_next_start_once(world: World) -> None:
    doubted(world)
    world.end()
    journal = world.state / "journal.db"
    assert leave_wish(journal, take_over=False)["wish"] == "start"
    world.say(Position(50, 3), b"i" * 16)
    world.run()
    world.until("leading")
    assert world.published[0].released
    assert world.producer.journal.announced.wish is Wish.NONE
    world.end()
    told = told_by(journal)
    assert told["vouched"]
    assert told["doubt"] is None


def test_a_wish_to_take_over_is_honoured_while_another_leads(world: World) -> None:
    world.live()
    world.end()
    leave_wish(world.state / "journal.db", take_over=True)
    assert leave_wish(world.state / "journal.db", take_over=False)["wish"] == "take over", "it says more"
    world.broker.events.clear()
    world.broker.holder = "there:42"
    world.run().run_until(lambda: bool(world.published), "published")
    world.broker.holder = ""


def test_what_is_noted_in_a_journal_is_there_after_it_was_opened_again(world: World) -> None:
    doubted(world)
    noted = world.producer.journal.announced
    assert noted.doubt is not None
    world.end()
    assert world.run().journal.announced == replace(noted)


def test_who_wished_to_take_over_from_somebody_who_is_gone_is_heard_when_he_says_start(world: World) -> None:
    doubted(world)
    journal = world.producer.journal
    journal.note(replace(journal.announced, wish=Wish.TAKE_OVER))
    handlers = epoch_handlers(world.producer.pipeline, world.producer.now)
    assert handlers["epoch-start"]({"take_over": False})["done"] == "approved"
    world.producer.run_until(lambda: bool(world.published), "published")
