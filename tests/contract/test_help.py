"""Every command explains itself: what `--help` must have, for whatever commands there are."""

import os
import subprocess
import sys

import pytest

from treecast.main import commands

WIDE = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def help_of(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=WIDE)


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(command: str) -> None:
    """It ends with 0, says what the command is for, and shows one line that can be typed."""
    answer = help_of(command)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert "Example" in answer.stdout
    example = answer.stdout.partition("Example")[2]
    assert f"treecast {command}" in example


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_fits_a_narrow_terminal(command: str) -> None:
    """Eighty columns hold every line, and no name of a Python type stands in it."""
    words = [sys.executable, "-m", "treecast", *filter(None, [command]), "--help"]
    narrow = {**WIDE, "COLUMNS": "80"}
    text = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=narrow).stdout
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "<bool>" not in text
    assert "list[" not in text


def test_help_lists_every_command() -> None:
    answer = help_of()
    assert answer.returncode == 0
    for command in commands():
        assert f" {command} " in answer.stdout


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["verify", "--help"], ["status", "--help"]], ids=str)
def test_what_is_quick_to_ask_loads_nothing_heavy(words: list[str]) -> None:
    """Only who uses a library waits for it (newer Typers load pydantic themselves, so our own models stand for it)."""
    script = (
        "import sys\n"
        "from treecast.main import run\n"
        "try:\n    run(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'pika', 'watchdog', 'common.settings', 'prometheus_client', 'sqlite3', 'orjson', 'rich.progress'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60, check=False, env=WIDE
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("command", ["mirror", "produce", "consume"])
def test_help_says_what_of_the_metadata_is_carried(command: str) -> None:
    text = " ".join(help_of(command).stdout.split())
    assert "what rsync -rlptOJ --delete carries, without setuid, setgid and sticky" in text
