"""The house is as its plan and its papers say: docs/architecture.md, pyproject.toml and requirements.lock agree with the code."""

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "producer", "consumer", "treecast")
DECIDES, DOES, MIXED = "decides", "does", "mixed"
DECIDING_CONTRACT = "Modules that decide see no disk, socket, clock, thread or log"


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def planned() -> dict[str, str]:
    """What the tables of docs/architecture.md say of each module: its dotted pattern, and whether it decides or does."""
    plan: dict[str, str] = {}
    package = ""
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        if line.startswith("## "):
            package = next((name for name in PACKAGES if f"{name}/" in line), "")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if package and line.startswith("| `") and len(cells) == 3:
            says = cells[1] if cells[1] in (DECIDES, DOES) else MIXED
            plan.update(
                {f"{package}.{name.strip('/').replace('/', '.')}": says for name in re.findall(r"`(.+?)`", cells[0])}
            )
    return plan


@cache
def modules() -> tuple[str, ...]:
    """Every module that there is, but for the marks of packages and the doors `python -m` goes through."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return tuple(sorted(name for name in names if not name.endswith(("__init__", "__main__"))))


def plan_of(module: str) -> str | None:
    """What the plan says of a module, by its own line, one with a star, or its package's."""
    return next(
        (says for pattern, says in planned().items() if fnmatch(module, pattern) or module.startswith(f"{pattern}.")),
        None,
    )


def contract(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = pyproject()["tool"]["importlinter"]["contracts"]
    return next(contract for contract in found if contract["name"] == name)


def test_the_plan_is_read() -> None:
    """Every floor has modules that decide and modules that do, so an unread table cannot make the other tests pass."""
    for package in ("common", "producer", "consumer"):
        says = {says for pattern, says in planned().items() if pattern.startswith(f"{package}.")}
        assert {DECIDES, DOES} <= says


def test_every_module_stands_in_the_plan() -> None:
    """A module that docs/architecture.md does not know has no room in the house."""
    assert [module for module in modules() if plan_of(module) is None] == []


def test_every_line_of_the_plan_is_a_module() -> None:
    """The plan shows nothing that is not there."""
    lines = [
        pattern
        for pattern in planned()
        if not any(fnmatch(module, pattern) or module.startswith(f"{pattern}.") for module in modules())
    ]
    assert lines == []


def test_the_contract_names_every_module_that_decides() -> None:
    """What the plan says decides is under the contract that keeps disk, socket, clock, thread and log away from it."""
    under_contract: list[str] = contract(DECIDING_CONTRACT)["source_modules"]

    def is_under(module: str) -> bool:
        return any(module == name or module.startswith(f"{name}.") for name in under_contract)

    assert [module for module in modules() if plan_of(module) == DECIDES and not is_under(module)] == []
    assert [module for module in modules() if plan_of(module) != DECIDES and is_under(module)] == []


def locked() -> dict[str, Version]:
    text = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def declared() -> list[Requirement]:
    project = pyproject()["project"]
    lines = [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *pyproject()["build-system"]["requires"],
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_lower_bound_and_is_locked_within_it(requirement: Requirement) -> None:
    """A dependency says from which version on it serves, and the lock file pins one that does."""
    assert any(specifier.operator == ">=" for specifier in requirement.specifier)
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)], prereleases=True)


def test_the_lock_file_pins_everything_by_hash_and_names_no_place() -> None:
    """It says what is installed, never from where: no registry, no folder, no option of the installer."""
    text = (ROOT / "requirements.lock").read_text()
    assert len(re.findall(r"^[a-z].*==", text, re.MULTILINE)) == len(locked()) > 20
    for package in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in package, package.splitlines()[0]
    assert not re.search(r"://|^-|file:/|\s/\w", text, re.MULTILINE)


def imported() -> set[str]:
    """Top-level names outside the standard library and the house that our packages import, wherever the line stands."""
    names = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - set(PACKAGES) - {"compression"}


def test_dependencies_are_those_that_are_imported() -> None:
    """What the code imports comes with a plain installation, and nothing is installed that it does not import."""
    lines = [Requirement(line) for line in pyproject()["project"]["dependencies"]]
    needed = {canonicalize_name(line.name) for line in lines if not line.marker or line.marker.evaluate()}
    origins = packages_distributions()
    assert {canonicalize_name(origins[name][0]) for name in imported()} == needed


@pytest.mark.parametrize("line", pyproject()["project"]["dependencies"], ids=lambda line: Requirement(line).name)
def test_every_dependency_has_its_reason(line: str) -> None:
    """A dependency of the product is one somebody argued for."""
    assert f"`{Requirement(line).name}`" in (ROOT / "docs/adr/0002-dependencies.md").read_text()


def test_every_decision_stands_in_the_index() -> None:
    """docs/adr/README.md links each record, and nothing that is not there."""
    index = (ROOT / "docs/adr/README.md").read_text()
    records = {file.name for file in (ROOT / "docs/adr").glob("0*.md")}
    assert set(re.findall(r"\]\((0\d+-[a-z0-9-]+\.md)\)", index)) == records
