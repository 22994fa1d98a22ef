"""`python -m consumer`: the consumer as a process, without the command line around it."""

import sys

from common.process import ConsumeService, run_consume


def load() -> ConsumeService:
    """The service, imported when it is about to run."""
    from consumer.service import run

    return run


if __name__ == "__main__":
    sys.exit(run_consume(sys.argv[1:], load, "python -m consumer"))
