"""What `--help` prints of the commands that there are."""

import pytest

from treecast.main import run


@pytest.mark.parametrize("group", [(), ("replica",), ("hold",), ("epoch",)])
def test_each_command_is_told_in_a_whole_sentence(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line of a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) > 1
    assert [line for line in listed if not line.endswith((".", "?")) or line.endswith("...")] == []


def test_a_wrong_choice_is_told_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Without those of a library."""
    assert run(["doctor", "--role", "blah"]) == 2
    assert capsys.readouterr().err == (
        "treecast: Invalid value for '--role': 'blah' is not one of 'produce', 'consume'. See: treecast doctor --help\n"
    )
