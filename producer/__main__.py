"""`python -m producer`: the producer as a process, without the command line around it."""

import sys

from common.process import ProduceService, run_produce


def load() -> ProduceService:
    """The service, imported when it is about to run."""
    from producer.service import run

    return run


if __name__ == "__main__":
    sys.exit(run_produce(sys.argv[1:], load, "python -m producer"))
