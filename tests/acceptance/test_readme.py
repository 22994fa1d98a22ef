"""The README cannot lie where a program can tell: commands, options, settings, links and units are what there is."""

import configparser
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from common.loading import gather, judge_given
from common.metrics import METRICS, PREFIX
from common.settings import MODELS, OUTSIDE_SETTINGS, Role, settings_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
# Options that commands of others have: git, pip, systemctl and RabbitMQ's own lines stand beside ours.
OTHERS = re.compile(r"^\s*(?:rabbitmqctl|useradd|install|systemctl|curl|python3|'\{).*$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@cache
def help_of(*arguments: str) -> str:
    """What a command's help says, undecorated; fails where there is no such command."""
    done = subprocess.run(
        [sys.executable, "-m", "treecast", *arguments, "--help"],
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands() -> list[str]:
    """Verbs that the README has after `treecast`, in lines of code and in running text."""
    lines = re.findall(r"^(?:ExecStart=\S*/)?treecast ([a-z]+)", "\n".join(blocks("sh") + blocks("ini")), re.MULTILINE)
    return sorted({*lines, *re.findall(r"`treecast ([a-z]+)", README)})


def calls() -> list[tuple[str, str]]:
    """Each verb with each option that the README gives it."""
    typed = re.findall(r"^treecast .*$", "\n".join(blocks("sh")), re.MULTILINE) + re.findall(
        r"`(treecast [^`]*)`", README
    )
    return sorted(
        {
            (words[1] if words[1].isalpha() else "", word)
            for words in (call.partition("#")[0].split() for call in typed)
            for word in words[1:]
            if re.fullmatch(r"--[a-z-]+|-[a-z]", word)
        }
    )


PARTS = {"hold": ("list", "show", "release"), "epoch": ("show", "start"), "replica": ("add", "forget", "list")}
"""The parts of a command that has several."""


def test_the_readme_is_read() -> None:
    """Commands, options and settings are found at all, so that nothing below passes for want of anything to look at."""
    assert set(commands()) >= {"mirror", "produce", "consume", "verify", "status", "settings"}
    assert {("mirror", "--once"), ("mirror", "-n"), ("status", "--state"), ("", "--version")} <= set(calls())


@pytest.mark.parametrize("command", commands())
def test_every_command_exists(command: str) -> None:
    """A verb that the README names is one that `treecast` knows."""
    assert "Usage" in help_of(command) or "usage" in help_of(command)


@pytest.mark.parametrize(("command", "option"), calls())
def test_every_option_exists(command: str, option: str) -> None:
    """An option stands in the help of the command that the README gives it to."""
    texts = [help_of(*filter(None, [command])), *(help_of(command, part) for part in PARTS.get(command, ()))]
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", "".join(texts))


def test_options_in_running_text_exist() -> None:
    """An option named without its command is one that some command has."""
    text = OTHERS.sub("", README)
    named = set(re.findall(r"`(--[a-z-]+)[ `]", text)) - {"--broker"}
    known = "".join(help_of(command) for command in commands())
    assert {option for option in named if option not in known} == set()


def test_every_variable_is_a_setting() -> None:
    """A `TREECAST_` name in the README is one that is read."""
    settings = {setting.variable for model in MODELS.values() for setting in settings_of(model).values()}
    assert set(re.findall(r"TREECAST_[A-Z_]*[A-Z]", README)) <= settings | OUTSIDE_SETTINGS


@pytest.mark.parametrize(("role", "name"), [("produce", "producer"), ("consume", "replica-a")])
def test_the_environment_files_are_right_settings(role: Role, name: str) -> None:
    """What stands in the two environment files is accepted, and names the account that step 1 made."""
    environments = [
        dict(line.split("=", 1) for line in block.split()) for block in blocks("sh") if block.startswith("TREECAST_")
    ]
    (environment,) = [one for one in environments if f"//{name}@" in one["TREECAST_BROKER"]]
    given = gather(role, {}, None, {**environment, "STATE_DIRECTORY": "/var/lib/treecast"})
    judge_given(role, given)
    assert [name for name, one in given.items() if one.value is ...] == []
    assert f"add_user {name} " in README


@pytest.mark.parametrize("role", ["produce", "consume"])
def test_the_one_file_for_all_serves_both(role: Role, tmp_path: Path) -> None:
    """The TOML example is right for a producer and for a consumer."""
    (text,) = blocks("toml")
    config = tmp_path / "treecast.toml"
    config.write_text(text)
    given = gather(role, {}, config, {"STATE_DIRECTORY": "/var/lib/treecast", "TREECAST_REPLICA": "replica-a"})
    judge_given(role, given)
    assert [name for name, one in given.items() if one.value is ...] == []


def headings(page: str) -> set[str]:
    """What a link into a page of ours ("": the README) may lead to."""
    text = (ROOT / page).read_text() if page else README
    lines = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_link_leads_somewhere() -> None:
    """Links into the repository name files that are there; those to a heading name one of that page."""
    links = re.findall(r"\]\(([^)]+)\)", README)
    ours = [link.partition("#") for link in links if not link.startswith("http")]
    assert [page for page, _, _ in ours if not (ROOT / page).exists()] == []
    assert [(page, heading) for page, _, heading in ours if heading and heading not in headings(page)] == []


def test_the_units_are_complete() -> None:
    """Both unit files start the command, with its settings and its state directory, and do not restart after 2 and 4."""
    units = []
    for block in blocks("ini"):
        if "[Service]" in block:
            unit = configparser.ConfigParser(strict=True)
            unit.optionxform = str  # type: ignore[assignment,method-assign]
            unit.read_string(block)
            units.append(unit)
    assert [unit["Service"]["ExecStart"].split()[-1] for unit in units] == ["produce", "consume"]
    for unit in units:
        assert {"EnvironmentFile", "User", "ProtectSystem"} <= set(unit["Service"])
        assert unit["Service"]["StateDirectory"] == "treecast"
        assert unit["Service"]["RestartPreventExitStatus"] == "2 4"


def test_every_metric_is_one() -> None:
    """A metric that the README tells people to alert on is in the table."""
    named = set(re.findall(r"`(treecast_[a-z_]+)`", README))
    assert named
    assert named <= {PREFIX + metric.name for metric in METRICS}


def test_the_work_lines_are_verbs_of_dev() -> None:
    """`./dev` lines in the README are verbs that `./dev` has."""
    said = subprocess.run([str(ROOT / "dev"), "help"], capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"\./dev ([a-z]+)", README))
    assert named >= {"demo", "test", "check"}
    assert all(f"\n  {verb} " in said for verb in named)
