"""The Dockerfile and what belongs to it: what is installed in the image, what is sent to its builder, what it says of itself."""

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from image.box import USER
from image.locked import closure, packages, roots

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@cache
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


def chosen(purpose: str) -> set[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {package.name for package in closure(lock(), roots(pyproject, purpose))}


def needed(name: str) -> Iterator[str]:
    """What an installed package needs here, and what that needs, itself included, extras aside."""
    yield canonicalize_name(name)
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from needed(requirement.name)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    lines = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(words[0], words[1]) for line in lines if (words := line.split(maxsplit=1))]


def said(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def test_the_image_has_what_treecast_needs_and_nothing_else() -> None:
    """Of the one lock file it takes exactly what an installation without extras has."""
    assert chosen("run") == set(needed("treecast")) - {"treecast"}


def test_the_wheel_is_made_with_what_makes_it() -> None:
    """The stage that builds has the backend and the front end, with all that they need, and no tool of ours."""
    assert chosen("build") == set(needed("hatchling")) | set(needed("build"))


def test_hashes_come_along() -> None:
    """What is chosen is what the lock says, hash by hash, so that pip can be told to require them."""
    for package in packages(lock()):
        assert package.text in lock()
        assert "--hash=sha256:" in package.text


def test_what_is_not_locked_is_an_error() -> None:
    """A dependency that the lock file does not know must not be left out in silence."""
    with pytest.raises(ValueError, match="not in the lock file: nowhere"):
        closure(lock(), frozenset({"nowhere", "pika"}))


def test_every_package_of_the_wheel_is_sent_to_the_builder() -> None:
    """What is copied is there, is not held back by .dockerignore, and is all that the wheel is made of."""
    copied = {word for rest in said("COPY") if "--from" not in rest for word in rest.split()[:-1]}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_through
    assert [name for name in copied if not (ROOT / name).exists()] == []
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) <= copied


def test_both_stages_have_the_base_that_was_asked_for() -> None:
    """The environment made in one stage runs in the other: with the same Python at the same place."""
    assert [rest.split()[0] for rest in said("FROM")] == ["${BASE}", "${BASE}"]
    assert instructions()[0][1].startswith("BASE=python:")


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    """An orchestrator that refuses root can see that it is none; tests and manifests use the same."""
    assert said("USER") == [f"{USER}:{USER}"]
    assert f"-o {USER} -g {USER}" in DOCKERFILE


def test_treecast_is_process_1() -> None:
    """No shell stands between the engine's SIGTERM and the process."""
    assert said("ENTRYPOINT") == ['["treecast"]']
    assert said("CMD") == ['["--help"]']
    assert said("HEALTHCHECK") == []


def test_the_image_says_which_version_it_is() -> None:
    """The label's default is the project's version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={version}" in said("ARG")


def test_nothing_of_a_builder_is_sent_along() -> None:
    """Caches and places of a machine stay where they are."""
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] not in "#!"]
    for name in (".venv", "build", ".git", "tests"):
        assert any(fnmatch(name, pattern) for pattern in ignored)
