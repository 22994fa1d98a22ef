"""Chooses from requirements.lock what a few of its packages need, hashes included. Needs nothing but Python.

    python image/locked.py LOCK PYPROJECT run      what Treecast itself needs
    python image/locked.py LOCK PYPROJECT build    what makes its wheel

One lock file serves the work on the project and the image; the image takes less of it. pip-compile says behind each package
who asked for it, and that is followed.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BUILDERS = ("build",)
"""What makes the wheel, beside the backend that pyproject.toml names."""


class Locked(NamedTuple):
    """One package of the lock file."""

    name: str
    text: str
    """Its lines as they stand, hashes included."""
    wanted_by: frozenset[str]


def canonical(requirement: str) -> str:
    """The name in a requirement, as the lock file spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]).lower()


def packages(lock: str) -> Iterator[Locked]:
    """The packages of a lock file that pip-compile wrote, in its order."""
    for text in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        origins = re.findall(r"^    #(?: via)? +(\S.*)$", text, re.MULTILINE)
        yield Locked(canonical(text), text, frozenset(canonical(origin) for origin in origins))


def closure(lock: str, roots: frozenset[str]) -> list[Locked]:
    """The roots and all that they need, in the order of the lock. Raises ValueError where a root is not locked."""
    known = list(packages(lock))
    missing = roots - {package.name for package in known}
    if missing:
        raise ValueError(f"not in the lock file: {', '.join(sorted(missing))}")
    chosen, size = roots, 0
    while len(chosen) > size:
        size = len(chosen)
        chosen |= {package.name for package in known if package.wanted_by & chosen}
    return [package for package in known if package.name in chosen]


def roots(pyproject: dict[str, Any], purpose: str) -> frozenset[str]:
    """What is asked for by name: of the product ("run"), or for the making of its wheel ("build")."""
    if purpose == "run":
        return frozenset(canonical(line) for line in pyproject["project"]["dependencies"])
    return frozenset(canonical(line) for line in (*pyproject["build-system"]["requires"], *BUILDERS))


def main(lock: str, pyproject: str, purpose: str) -> None:
    """Print the part of the lock file that serves the purpose."""
    wanted = roots(tomllib.loads(Path(pyproject).read_text()), purpose)
    print("".join(package.text for package in closure(Path(lock).read_text(), wanted)), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
