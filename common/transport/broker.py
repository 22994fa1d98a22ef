"""Opens the broker that a URL names. Knows which module serves which URL, and loads only that one: pika is heavy."""

from collections.abc import Callable

from common.transport.limits import QueueLimits
from common.transport.ports import Broker
from common.transport.urls import EmbeddedUrl, parse_url

DEFAULT_LIMITS = QueueLimits()


def open_broker(
    url: str,
    tree: str,
    *,
    password: str | None = None,
    limits: QueueLimits = DEFAULT_LIMITS,
    name_leader: Callable[[bytes], str | None] | None = None,
) -> Broker:
    """The broker at this URL, for one tree. Connects to nothing yet: its ports do, by themselves and for ever.

    `password` wins over one in the URL; `limits` are for the embedded queue only. `name_leader` reads an events message
    and says who sent it, or None: RabbitMQ has no other way to tell a newcomer who leads. Raises SettingError for a wrong
    URL, and StateError where the embedded queue's file is corrupt, of another program or of a later version.
    """
    place = parse_url(url)
    if isinstance(place, EmbeddedUrl):
        from common.transport.embedded import EmbeddedBroker

        return EmbeddedBroker(place.path, tree, limits=limits)
    from common.transport.amqp import AmqpBroker

    return AmqpBroker(url, tree, password=password, name_leader=name_leader)
