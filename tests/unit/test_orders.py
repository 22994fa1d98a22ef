"""Orders from the control socket: carried out by the loop alone, answered to the one who asked, never left half asked."""

import threading
from typing import Any

import pytest

from common import orders as orders_module
from common.errors import HaltError, StoppedError, UnreachableError
from common.orders import Finish, Orders


class Loop:
    """A loop that serves when it is woken, and remembers on which thread."""

    def __init__(self) -> None:
        self.woken, self.stop = threading.Event(), threading.Event()
        self.orders = Orders(self.woken.set)
        self.served_on: list[int | None] = []
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop.is_set():
            self.woken.wait(10)
            self.woken.clear()
            self.orders.serve({"double": self.double, "refuse": self.refuse, "later": self.finish_later})

    def double(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.served_on.append(threading.get_ident())
        return {"result": 2 * arguments["number"]}

    def finish_later(self, arguments: dict[str, Any]) -> Finish:
        began_on = threading.get_ident()
        return lambda: {"began_on": began_on, "ended_on": threading.get_ident()}

    def refuse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        raise StoppedError("no hold is on")

    def __enter__(self) -> "Loop":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.woken.set()
        self.thread.join()


def test_an_order_is_carried_out_by_the_loop_and_its_answer_comes_back() -> None:
    with Loop() as loop:
        assert loop.orders.verb("double")({"number": 21}) == {"result": 42}
        assert loop.served_on == [loop.thread.ident]


def test_the_rest_of_an_order_is_done_by_the_one_who_asked() -> None:
    """What takes long holds up nobody but who wants it."""
    with Loop() as loop:
        found = loop.orders.verb("later")({})
        assert found == {"began_on": loop.thread.ident, "ended_on": threading.get_ident()}


def test_what_the_loop_raises_goes_to_the_one_who_asked_and_the_loop_goes_on() -> None:
    with Loop() as loop:
        with pytest.raises(StoppedError, match="no hold is on"):
            loop.orders.verb("refuse")({})
        assert loop.orders.verb("double")({"number": 1}) == {"result": 2}


def test_an_order_that_the_loop_does_not_take_in_time_is_given_up_and_not_carried_out_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orders_module, "ANSWER_SECONDS", 0.01)
    orders = Orders()
    with pytest.raises(UnreachableError, match="busy"):
        orders.verb("double")({"number": 1})
    loop = Loop()
    orders.serve({"double": loop.double})
    assert not loop.served_on


def test_a_disk_that_fails_under_an_order_stops_the_loop_too() -> None:
    orders = Orders()

    def fail(arguments: dict[str, Any]) -> dict[str, Any]:
        raise HaltError("the state cannot be used")

    asked: list[BaseException] = []

    def ask() -> None:
        try:
            orders.verb("fail")({})
        except HaltError as error:
            asked.append(error)

    woken = threading.Event()
    orders.wake = woken.set
    asker = threading.Thread(target=ask)
    asker.start()
    woken.wait(10)
    with pytest.raises(HaltError):
        orders.serve({"fail": fail})
    asker.join(10)
    assert len(asked) == 1
