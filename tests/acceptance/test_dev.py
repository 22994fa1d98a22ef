"""`./dev` and `.ci/run` as a newcomer meets them: what they say, and what they answer to a slip."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev"
VERBS = ("demo", "test", "check", "bench", "image", "lock", "help")


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`./dev` with these arguments, in an environment that has little more than a PATH."""
    return subprocess.run(
        [str(DEV), *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("script", ["dev", ".ci/run", "image/make"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    """Both can be called as they are, and bash can read them to the end."""
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",), ("-h",)])
def test_help_names_every_verb(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Help comes without set-up, from any directory, without a HOME, on standard output."""
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(any(line.startswith(f"  {verb} ") for line in lines) for verb in VERBS)


def test_an_unknown_verb_is_wrong_usage() -> None:
    """A slip ends with 2, names itself, and shows what there is."""
    done = run("tset")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such verb: tset" in done.stderr
    assert "usage: ./dev" in done.stderr


def test_bench_says_what_there_is() -> None:
    """The verb that comes later fails in one line that names those that work."""
    done = run("bench")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "check" in done.stderr


def test_without_a_python_it_says_so_in_one_line(tmp_path: Path) -> None:
    """A machine without Python 3.11 gets one clear line and no traces."""
    for name in ("bash", "dirname", "readlink", "cat", "cksum", "flock", "head"):
        real = next(Path(folder, name) for folder in os.get_exec_path() if Path(folder, name).exists())
        (tmp_path / name).symlink_to(real)
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("dev", "requirements.lock", "pyproject.toml"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        ["bash", str(clone / "dev"), "check"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("dev: Python 3.11 or later is needed")
    assert len(done.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    "script", ["dev", ".ci/run", "image/make", "Dockerfile", "requirements.lock", "pyproject.toml"]
)
def test_no_script_names_a_registry(script: str) -> None:
    """Where packages come from is the machine's business."""
    text = (ROOT / script).read_text()
    assert "index-url " not in text.replace("--no-emit-index-url ", "")
    assert "pypi" not in text.lower()
    assert "://" not in text
