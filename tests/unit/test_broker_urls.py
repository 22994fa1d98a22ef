"""What a broker's URL may look like, and that its password is never shown."""

from pathlib import Path

import pika
import pytest

from common.errors import SettingError
from common.transport.urls import AmqpUrl, EmbeddedUrl, parse_url, shown


def amqp(url: str) -> AmqpUrl:
    parsed = parse_url(url)
    assert isinstance(parsed, AmqpUrl)
    return parsed


def test_four_slashes_name_a_file() -> None:
    assert parse_url("sqlite:////var/lib/treecast/queue.db") == EmbeddedUrl(Path("/var/lib/treecast/queue.db"))


def test_a_path_is_taken_literally() -> None:
    assert parse_url("sqlite:////a b/%2e@x:1") == EmbeddedUrl(Path("/a b/%2e@x:1"))


@pytest.mark.parametrize(
    "url", ["sqlite:var/q.db", "sqlite:/var/q.db", "sqlite://var/q.db", "sqlite:///var/q.db", "sqlite://///var/q.db"]
)
def test_another_count_of_slashes_is_refused_with_the_right_spelling(url: str) -> None:
    with pytest.raises(SettingError, match=r"TREECAST_BROKER.*sqlite:////var/q\.db"):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite:////", "sqlite:////var/", "sqlite:////q.db?mode=ro", "sqlite:////q#1"]
)
def test_what_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="sqlite:////absolute/path"):
        parse_url(url)


@pytest.mark.parametrize("url", ["", "/var/q.db", "http://host/", "redis://host", "rabbit", "host:5672", "amqp"])
def test_anything_else_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(SettingError, match=r"TREECAST_BROKER.*amqps://"):
        parse_url(url)


@pytest.mark.parametrize("path", ["", "/", "/%2F", "/%2f"])
def test_no_vhost_is_the_vhost_slash(path: str) -> None:
    assert amqp(f"amqp://host{path}").vhost == "/"


def test_every_part_of_an_amqp_url_is_found() -> None:
    assert amqp("AMQPS://us%40er:p%3Ass@[::1]:99/v%20h?heartbeat=7&a=b") == AmqpUrl(
        is_tls=True, host="::1", port=99, vhost="v h", user="us@er", password="p:ss", query="heartbeat=7&a=b"
    )


@pytest.mark.parametrize(("scheme", "port"), [("amqp", 5672), ("amqps", 5671)])
def test_each_scheme_has_its_port(scheme: str, port: int) -> None:
    assert amqp(f"{scheme}://host").port == port


@pytest.mark.parametrize(
    "url",
    [
        "amqp:",
        "amqp://",
        "amqp:///vhost",
        "amqp://h:0/",
        "amqp://h:x/",
        "amqp://h:99999/",
        "amqp://h/a/b",
        "amqp://h/#x",
    ],
)
def test_a_broken_amqp_url_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="TREECAST_BROKER"):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:secret@host/",
        "amqp://user:secret@host:x/",
        "amqp://:secret@host",
        "amqp://user:sec@secret@host/a/b",
        "amqp://user:sec/secret@host",
        "amqp:/user:secret@host",
        "amqp://user/x:secret@host",
        "user:secret@host",
        "amqps://host/?ssl_options=%7B'password':'secret'%7D&x=y",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    assert "secret" not in shown(url)


@pytest.mark.parametrize(
    "url", ["amqp://user:secret@host:x/", "amqp://user:sec/secret@host", "rabbit://user:secret@host"]
)
def test_a_refusal_does_not_show_it_either(url: str) -> None:
    with pytest.raises(SettingError) as refusal:
        parse_url(url)
    assert "secret" not in str(refusal.value)


def test_what_is_no_secret_is_shown() -> None:
    assert shown("amqp://user:x@host:5672/v?heartbeat=5") == "amqp://user:***@host:5672/v?heartbeat=5"
    assert shown("amqp://user@host/") == "amqp://user@host/"
    assert shown("sqlite:////a:b@c/q.db") == "sqlite:////a:b@c/q.db"


@pytest.mark.parametrize("url", ["amqp://host", "amqp://u:p%2F@host:1/%2F", "amqps://us%40@[::1]/v%2Fh?heartbeat=7"])
def test_the_one_spelling_means_the_same_to_us_and_to_pika(url: str) -> None:
    parsed = amqp(url)
    assert amqp(parsed.text()) == parsed
    theirs = pika.URLParameters(parsed.text())
    assert (theirs.host, theirs.port, theirs.virtual_host) == (parsed.host, parsed.port, parsed.vhost)


def test_a_password_of_its_own_wins() -> None:
    assert amqp(amqp("amqp://u:old@host").text("n/e:w@")).password == "n/e:w@"
