"""What is installed: four packages, one command, and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"common", "producer", "consumer", "treecast"}
COMMANDS = {"mirror", "produce", "consume", "verify", "status", "settings", "demo"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel as the build backend makes it from this work tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as opened:
        yield opened


def installed(wheel: zipfile.ZipFile) -> list[str]:
    """The wheel's files, its own papers aside."""
    return [name for name in wheel.namelist() if ".dist-info/" not in name]


def papers(wheel: zipfile.ZipFile, name: str) -> bytes:
    return wheel.read(next(path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")))


def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(papers(wheel, "METADATA"))


def test_the_wheel_installs_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, no docs, no stray module comes with it, and nothing but modules and their data is in it."""
    assert {name.split("/")[0] for name in installed(wheel)} == PACKAGES
    assert [name for name in installed(wheel) if "__pycache__" in name or "test" in name] == []


def test_every_module_of_the_work_tree_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    """No module is left out, by an ignore rule for one."""
    modules = {str(file.relative_to(ROOT)) for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert modules <= set(installed(wheel))


def test_each_package_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    """A type checker takes our annotations, in each of the packages."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(installed(wheel))


def test_the_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """`treecast` is a command after installation, and the licence travels with the code."""
    assert b"treecast = treecast.main:main" in papers(wheel, "entry_points.txt")
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert papers(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_a_plain_installation_needs_no_extra(wheel: zipfile.ZipFile) -> None:
    """Extras are for work on the project; what the commands need comes without them."""
    assert metadata(wheel).get_all("Provides-Extra") == ["dev"]
    plain = [line for line in metadata(wheel).get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(plain) == len(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def test_the_installed_command_knows_every_verb() -> None:
    """The console script beside this Python answers, and its help names each verb."""
    script = Path(sys.executable).with_name("treecast")
    done = subprocess.run([str(script), "--help"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert {verb for verb in COMMANDS if verb not in done.stdout} == set()


@pytest.mark.parametrize("module", ["producer", "consumer"])
def test_a_room_can_be_started_by_itself(module: str) -> None:
    """`python -m producer` and `python -m consumer` are doors of their own, for a container."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
