"""Labels and selectors, as Kubernetes writes them."""

import pytest

from common.errors import SettingError
from common.labels import labels_text, parse_labels, parse_selector


def test_labels_are_read_in_the_order_of_their_keys_and_written_as_they_were_typed() -> None:
    labels = parse_labels(" role=web, region=eu ,empty=")
    assert labels_text(labels) == "empty=,region=eu,role=web"
    assert parse_labels("") == {}


@pytest.mark.parametrize(
    "text", ["region", "a=1,a=2", "=x", "a=" + "x" * 64, "a b=c", ",".join(f"k{n}=v" for n in range(21)), "a=é"]
)
def test_what_are_no_labels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_labels(text)


@pytest.mark.parametrize(
    ("selector", "picks"),
    [
        ("", True),
        ("region=eu", True),
        ("region==eu,role=web", True),
        ("region=us", False),
        ("region!=us,zone!=a", True),
        ("region!=eu", False),
        ("role", True),
        ("zone", False),
        ("!zone", True),
        ("!role", False),
    ],
)
def test_a_selector_picks_where_all_its_conditions_hold(selector: str, picks: bool) -> None:
    assert parse_selector(selector).picks({"region": "eu", "role": "web"}) is picks


def test_what_is_no_selector_names_the_option_and_what_is_allowed() -> None:
    with pytest.raises(SettingError, match="-l: found 'region=a=b c', allowed: conditions"):
        parse_selector("region=a=b c", "-l")
