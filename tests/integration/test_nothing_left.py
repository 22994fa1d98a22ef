"""The guard around a test run: it passes on how the command ended, and lets nothing outlive it."""

import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).resolve().parents[1] / "nothing_left.py"


def guarded(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(GUARD), *command], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)], ids=["done", "failed", "killed"]
)
def test_the_exit_code_is_the_commands(script: str, code: int) -> None:
    """A run that leaves nothing behind ends as its command did, without a word."""
    done = guarded("bash", "-c", script)
    assert (done.returncode, done.stderr) == (code, "")


def test_what_outlives_the_command_is_named_and_ended() -> None:
    """A daemon in a session of its own, with an environment of its own, is found all the same, and the run fails."""
    done = guarded("bash", "-c", "env -i setsid sleep 4711 </dev/null >/dev/null 2>&1 & echo $!")
    assert done.returncode == 1
    assert "sleep 4711" in done.stderr
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_what_ends_by_itself_in_time_is_no_matter() -> None:
    """A process on its way out when the command ends does not make the run fail."""
    done = guarded("bash", "-c", "sleep 0.3 </dev/null >/dev/null 2>&1 &")
    assert (done.returncode, done.stderr) == (0, "")
