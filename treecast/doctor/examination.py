"""Does: the whole examination of one role, check after check. Knows which checks there are, and none of them."""

from collections.abc import Iterator

from treecast.doctor import broker_checks, machine_checks, tree_checks
from treecast.doctor.case import Case, carry_out
from treecast.doctor.findings import Finding


def examine(case: Case) -> Iterator[Finding]:
    """Every finding, in the order in which one would look: the process, its place, its tree, its broker."""
    tree = tree_checks.CONSUME_CHECKS if case.replica else tree_checks.PRODUCE_CHECKS
    yield from carry_out({**machine_checks.CHECKS, **tree, **broker_checks.CHECKS}, case)
