"""What every level of tests shares: the option `--broker` and the private RabbitMQ."""

import pytest

pytest_plugins = ["tests.rabbit"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--broker URL`: test against this RabbitMQ instead of a private one."""
    parser.addoption(
        "--broker", metavar="URL", default=None, help="amqp:// URL of a RabbitMQ to run the contract against"
    )
