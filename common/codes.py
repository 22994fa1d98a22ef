"""Decides what the exit codes of every command mean."""

PERSON_ALARMS = frozenset({"hold", "source-empty", "source-missing", "take-over", "trial"})
"""Alarms of a producer that only a person can end: `STOPPED`."""

DONE = 0
"""Done, or equal."""
FAILED = 1
"""Not equal, not converged, timed out, or behind its limit."""
USAGE = 2
"""Wrong usage, or a wrong setting."""
OUT_OF_REACH = 3
"""Broker or process out of reach."""
STOPPED = 4
"""Stopped: a person is needed."""
INTERRUPTED = 130
"""After Ctrl-C."""
TERMINATED = 143
"""After SIGTERM."""
