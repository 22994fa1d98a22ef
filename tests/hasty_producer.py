"""`python -m tests.hasty_producer`: a producer as a process that gives up behind another after seconds instead of a minute."""

import sys
from functools import partial

from common.process import ProduceService, run_produce

HELD_LIMIT_SECONDS = 12.0
"""Over RabbitMQ a newcomer learns who leads from a heartbeat: they come every 5 seconds."""


def load() -> ProduceService:
    """As in `producer.__main__`."""
    from producer.service import run

    return partial(run, held_limit_seconds=HELD_LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(run_produce(sys.argv[1:], load, "python -m tests.hasty_producer"))
