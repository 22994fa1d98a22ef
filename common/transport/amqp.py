"""RabbitMQ as a broker for one tree. Knows which ports there are and what they are called on the broker."""

from common.errors import SettingError
from common.transport.amqp_connection import parameters_for
from common.transport.amqp_declaring import upstream_steps
from common.transport.amqp_publisher import AmqpPublisher
from common.transport.amqp_subscriber import AmqpSubscriber, HolderFinder, NameLeader
from common.transport.amqp_topology import UPSTREAM_PREFETCH_COUNT, Topology
from common.transport.ports import Wake
from common.transport.urls import ALLOWED, SETTING, AmqpUrl, parse_url, shown


class AmqpBroker:
    """See common.transport.ports.Broker. Each port has a connection and a thread of its own."""

    def __init__(
        self, url: str, tree: str, *, password: str | None = None, name_leader: NameLeader | None = None
    ) -> None:
        """`password`, where given, wins over the URL's own. Connects to nothing yet.

        `name_leader` reads a message of the events exchange and says who sent it, or None: so a newcomer can name the
        producer that holds the tree. Raises SettingError for a URL that names no RabbitMQ, or has a wrong option.
        """
        place = parse_url(url)
        if not isinstance(place, AmqpUrl):
            raise SettingError(SETTING, shown(url), ALLOWED)
        self._url = place
        self._password = password
        self._topology = Topology(tree)
        self._name_leader = name_leader
        parameters_for(place, password=password, name="")  # a wrong option shows now

    def publisher(self, *, wake: Wake, declare: bool) -> AmqpPublisher:
        """See the port."""
        name = self._name("producer" if declare else "replica", "publish")
        return AmqpPublisher(
            parameters_for(self._url, password=self._password, name=name),
            self._topology,
            wake=wake,
            declare=declare,
            name=name,
        )

    def replica_subscriber(self, replica: str, *, wake: Wake) -> AmqpSubscriber:
        """See the port."""
        name = self._name(f"replica {replica}", "consume")
        return AmqpSubscriber(
            parameters_for(self._url, password=self._password, name=name),
            self._topology.replica_queue(replica),
            wake=wake,
            name=name,
            holder=replica,
        )

    def upstream_subscriber(self, *, holder: str, wake: Wake) -> AmqpSubscriber:
        """See the port. It makes its queue where it may.

        The other's name is in the detail of `HELD` once a heartbeat of it has come by.
        """
        name = self._name("producer", "consume")
        finder = None if self._name_leader is None else HolderFinder(self._topology, self._name_leader)
        return AmqpSubscriber(
            parameters_for(self._url, password=self._password, name=name),
            self._topology.upstream,
            wake=wake,
            name=name,
            holder=holder,
            steps=upstream_steps(self._topology),
            find_holder=finder,
            prefetch_count=UPSTREAM_PREFETCH_COUNT,
        )

    def _name(self, role: str, act: str) -> str:
        return f"treecast {self._topology.tree} {role} {act}"
