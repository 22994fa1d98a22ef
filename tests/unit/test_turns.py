from common.messages import Ask, AskBodies, AskBuckets, AskDigests, Question
from producer.turns import QUESTIONS_PER_REPLICA, Turns

SECOND_NS = 1_000_000_000


def question(replica: str, ask: Ask, asked_ns: int = 0, nonce: int = 0) -> Question:
    return Question("music", 7, replica, nonce.to_bytes(16, "big"), ask, asked_ns)


def test_replicas_take_turns_and_each_has_its_questions_in_order() -> None:
    turns = Turns()
    for replica in ("a", "b"):
        turns.ask(question(replica, AskBuckets((1,), True)), 0.0)
        turns.ask(question(replica, AskBuckets((2,), True)), 1.0)
    seen = []
    for _ in range(6):
        waiting = turns.next()
        assert waiting is not None
        seen.append((waiting.question.replica, waiting.heard_at))
    assert seen == [("a", 0.0), ("b", 0.0)] * 3, "a question keeps its turn until it is done"
    while (waiting := turns.next()) is not None:
        seen.append((waiting.question.replica, waiting.heard_at))
        turns.done(waiting)
    assert seen[6:] == [("a", 0.0), ("b", 0.0), ("a", 1.0), ("b", 1.0)]
    assert not len(turns)


def test_what_is_asked_again_replaces_what_was_asked_before() -> None:
    turns = Turns()
    turns.ask(question("a", AskDigests(()), nonce=1), 0.0)
    turns.ask(question("a", AskDigests(()), nonce=2), 1.0)
    waiting = turns.next()
    assert len(turns) == 1
    assert waiting is not None
    assert waiting.question.nonce == (2).to_bytes(16, "big")


def test_whatever_is_asked_for_again_is_not_answered_twice() -> None:
    """A replica that asks for a bucket again expects no answer to what it asked before, whatever else was asked for with it."""
    turns = Turns()
    turns.ask(question("a", AskBuckets((1, 2), True), nonce=1), 0.0)
    turns.ask(question("a", AskBuckets((3,), True), nonce=2), 0.0)
    turns.ask(question("b", AskBuckets((1, 2), True), nonce=3), 0.0)
    turns.ask(question("a", AskBuckets((2, 4), False), nonce=4), 1.0)
    turns.ask(question("a", AskBodies(((b"f", b"1"), (b"g", b"2")))), 1.0)
    turns.ask(question("a", AskBodies(((b"g", b"2"),))), 1.0)
    left = []
    while (waiting := turns.next()) is not None:
        left.append((waiting.question.replica, waiting.question.ask))
        turns.done(waiting)
    assert left == [
        ("a", AskBuckets((3,), True)),
        ("b", AskBuckets((1, 2), True)),
        ("a", AskBuckets((2, 4), False)),
        ("a", AskBodies(((b"g", b"2"),))),
    ]


def test_what_the_same_replica_asked_over_a_minute_before_goes() -> None:
    turns = Turns()
    turns.ask(question("a", AskBuckets((1,), True), 5 * SECOND_NS), 0.0)
    turns.ask(question("b", AskBuckets((2,), True), 500 * SECOND_NS), 0.0)
    turns.ask(question("a", AskBuckets((3,), True), 65 * SECOND_NS), 1.0)
    assert len(turns) == 3, "another's clock tells nothing"
    turns.ask(question("a", AskBuckets((4,), True), 66 * SECOND_NS), 1.0)
    assert len(turns) == 3


def test_of_too_many_questions_the_oldest_goes_and_forgotten_replicas_have_none() -> None:
    turns = Turns()
    for number in range(QUESTIONS_PER_REPLICA + 1):
        turns.ask(question("a", AskBuckets((number,), True)), 0.0)
    waiting = turns.next()
    assert len(turns) == QUESTIONS_PER_REPLICA
    assert waiting is not None
    assert waiting.question.ask == AskBuckets((1,), True)
    turns.forget("a")
    assert turns.next() is None
    turns.done(waiting)
