"""Patterns exclude what git ignores: git itself is asked, about rules by chance."""

import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from common.patterns import Patterns

DIRECTORIES = ("a", "a/x", "b", "b/x", "c", "d", "d/n", "d/n/x")
FILES = ("a/x/p", "a/x/q", "a/y", "a/t.tmp", "b/x/p", "b/x/t.tmp", "c/x", "e", "x", "d/n/x/t.tmp")
RULES = (
    "x", "x/", "*.tmp", "/a", "b/", "p", "*", "/*", "a", "!a", "!b", "!x", "!x/", "!/a", "!a/x/p", "!*.tmp", "!p", "c", "/a/x",
    "a/*", "!a/x", "**/x", "a/**", "!/a/", "!a/", "d/**/", "*/", "!*/", "**/", "[ab]", "![ab]", "?", "a/**/q", "**/x/**",
    "a*/x", "*x*", "!**", "/**/x", "*/x", "!*/x/p", "# x", "", "!d/**/", "a[!b]x",
    "a[+-9]x", "[!b]*[!b]", "!a[!p]x", "*.*m*p", "d/**/n/**/x", "**/n/**/x/**",
)  # fmt: skip
TRIES = 150
ALONE = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root = tmp_path_factory.mktemp("ignoring")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for directory in DIRECTORIES:
        (root / directory).mkdir()
    for file in FILES:
        (root / file).touch()
    return root


def ignored_by_git(tree: Path, rules: list[str]) -> set[str]:
    """Of all paths of the tree."""
    (tree / ".gitignore").write_text("".join(f"{rule}\n" for rule in rules))
    asked = "".join(f"{path}\n" for path in (*DIRECTORIES, *FILES))
    command = ["git", "-C", str(tree), "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, env=ALONE)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.splitlines())


def test_what_is_excluded_is_what_git_ignores(tree: Path) -> None:
    rng = Random(1)
    for _ in range(TRIES):
        rules = [rng.choice(RULES) for _ in range(rng.choice([1, 2, 2, 3, 4]))]
        patterns = Patterns(rules)
        excluded = {path for path in DIRECTORIES if patterns.excludes(path.encode(), True)}
        excluded |= {path for path in FILES if patterns.excludes(path.encode(), False)}
        assert excluded == ignored_by_git(tree, rules), rules
