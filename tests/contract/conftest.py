"""The brokers that the contract suite runs against, each with a tree of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rabbit import needs_rabbit
from tests.transports import Ports, embedded_url, free_tree


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=needs_rabbit)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ports]:
    """Ports of every transport, by turns."""
    is_embedded = request.param == "embedded"
    url = embedded_url(tmp_path / "queue.db") if is_embedded else request.getfixturevalue("rabbit_url")
    ports = Ports(url, free_tree(), is_embedded)
    try:
        yield ports
    finally:
        ports.close()
