"""What settings say, where they come from, and how a wrong one is told."""

from pathlib import Path

import pytest

from common.errors import SettingError
from common.loading import gather, judge_given, load_consume, load_produce, unknown_variables
from common.names import PATTERNS_LIMIT_BYTES
from common.options import parse_options
from common.quantities import ListenAddress, parse_listen, parse_queue_limit, parse_seconds, parse_size_bytes
from common.setting_kinds import parse_timeout
from common.settings import MODELS, settings_of
from common.settings_table import settings_table, value_lines
from common.transport.limits import QueueLimits

PRODUCER = {"TREECAST_TREE": "t", "TREECAST_BROKER": "sqlite:////q.db", "TREECAST_SOURCE": "/srv"}
CONSUMER = {"TREECAST_TREE": "t", "TREECAST_BROKER": "sqlite:////q.db", "TREECAST_TARGET": "/srv"}


def produce_error(**environ: str) -> str:
    with pytest.raises(SettingError) as caught:
        load_produce({}, None, {**PRODUCER, **environ})
    return str(caught.value)


def test_three_settings_are_enough_for_a_producer() -> None:
    """Everything else has a default."""
    settings = load_produce({}, None, {**PRODUCER, "STATE_DIRECTORY": "/state"}).settings
    assert (settings.tree, settings.source, settings.state) == ("t", Path("/srv"), Path("/state"))
    assert settings.queue_limit == QueueLimits()
    assert (settings.settle_seconds, settings.scan_interval_seconds, settings.watch) == (2.0, None, "auto")
    assert (settings.listen, settings.wire, settings.exclude, settings.log_level) == (None, None, (), "info")


def test_the_command_line_beats_the_environment() -> None:
    """And each value remembers where it came from."""
    loaded = load_consume({"replica": "paris", "adopt": None}, None, {**CONSUMER, "TREECAST_REPLICA": "tokyo"})
    assert loaded.settings.replica == "paris"
    assert loaded.given["replica"].origin == "command line"
    assert loaded.given["target"].origin == "environment TREECAST_TARGET"
    assert loaded.given["adopt"].origin == "default"
    assert loaded.spelled("replica") == "--replica"


def test_an_empty_variable_is_not_set() -> None:
    assert load_produce({}, None, {**PRODUCER, "TREECAST_LISTEN": "", "TREECAST_WIRE": ""}).settings.listen is None


def test_a_replica_is_named_after_its_host_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Web_01.Example.COM")
    loaded = load_consume({}, None, CONSUMER)
    assert loaded.settings.replica == "web-01-example-com"
    assert loaded.given["replica"].origin == "default (host name)"


def test_a_host_name_that_cannot_be_made_to_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "__")
    with pytest.raises(SettingError, match="TREECAST_REPLICA"):
        load_consume({}, None, CONSUMER)


def test_state_lies_under_tree_and_role_or_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """For root in /var/lib; the unit file's directory wins."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load_produce({}, None, PRODUCER).settings.state == Path("/var/lib/treecast/t/producer")
    consumer = load_consume({"replica": "paris"}, None, CONSUMER)
    assert consumer.settings.state == Path("/var/lib/treecast/t/paris")
    told = load_consume({}, None, {**CONSUMER, "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})
    assert told.settings.state == Path("/var/lib/a")
    assert told.given["state"].origin == "default ($STATE_DIRECTORY)"


def test_exclude_is_one_pattern_per_line_or_option() -> None:
    assert load_produce({}, None, {**PRODUCER, "TREECAST_EXCLUDE": "*.tmp\n\n/cache/\n"}).settings.exclude == (
        "*.tmp",
        "/cache/",
    )
    assert load_produce({"exclude": ["*.o"]}, None, {**PRODUCER, "TREECAST_EXCLUDE": "*.tmp"}).settings.exclude == (
        "*.o",
    )


def test_patterns_that_would_not_fit_beside_a_batch_are_refused() -> None:
    """They travel as one content with the events, to be there before what they protect."""
    line, number = "x" * 1023, PATTERNS_LIMIT_BYTES // 1024
    assert len(load_produce({"exclude": [line] * number}, None, PRODUCER).settings.exclude) == number
    with pytest.raises(SettingError) as caught:
        load_produce({"exclude": [line] * (number + 1)}, None, PRODUCER)
    allowed = "patterns of at most 65,536 bytes in all"
    assert (caught.value.setting, caught.value.found, caught.value.allowed) == ("--exclude", "66,560 bytes", allowed)
    with pytest.raises(SettingError) as caught:
        load_consume({"protect": ["*.o", "a\0b"]}, None, CONSUMER)
    assert (caught.value.setting, caught.value.found) == ("--protect", "a\0b")


@pytest.mark.parametrize("missing", PRODUCER)
def test_a_missing_setting_is_named(missing: str) -> None:
    with pytest.raises(SettingError) as caught:
        load_produce({}, None, {name: value for name, value in PRODUCER.items() if name != missing})
    assert str(caught.value).startswith(f"{missing} or --{missing[9:].lower()}: found nothing, allowed: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TREECAST_TREE", "Play Lists"),
        ("TREECAST_TREE", "a" * 64),
        ("TREECAST_TREE", "-a"),
        ("TREECAST_BROKER", "http://x"),
        ("TREECAST_BROKER", "sqlite:///relative.db"),
        ("TREECAST_SOURCE", "relative"),
        ("TREECAST_SOURCE", "~/x"),
        ("TREECAST_STATE", "state"),
        ("TREECAST_LISTEN", "70000"),
        ("TREECAST_LISTEN", "0"),
        ("TREECAST_LISTEN", "host:port"),
        ("TREECAST_QUEUE_LIMIT", "7"),
        ("TREECAST_QUEUE_LIMIT", "0GiB"),
        ("TREECAST_WIRE", "0"),
        ("TREECAST_WIRE", "99"),
        ("TREECAST_WIRE", "1.5"),
        ("TREECAST_WATCH", "magic"),
        ("TREECAST_SCAN_INTERVAL", "0"),
        ("TREECAST_SETTLE", "-1s"),
        ("TREECAST_SETTLE", "nan"),
        ("TREECAST_LOG_LEVEL", "loud"),
        ("TREECAST_LOG_FORMAT", "xml"),
        ("TREECAST_EXCLUDE", "!"),
    ],
)
def test_a_wrong_value_is_one_line_with_setting_found_and_allowed(variable: str, value: str) -> None:
    line = produce_error(**{variable: value})
    assert line.startswith(f"{variable}: found ")
    assert ", allowed: " in line
    assert "\n" not in line


def test_a_wrong_value_is_named_as_it_was_typed() -> None:
    with pytest.raises(SettingError, match=r"^--log-level: found 'loud'"):
        load_produce({"log_level": "loud"}, None, PRODUCER)


def test_no_password_is_ever_shown() -> None:
    """Not in an error, not in the table of values, not in the settings' own text."""
    url = "amqp://user:geheim@mq.example.com/"
    assert "geheim" not in produce_error(TREECAST_BROKER=url.replace("mq.example.com", "mq:x"))
    loaded = load_produce({"broker": url}, None, PRODUCER)
    assert loaded.settings.broker == url
    assert "geheim" not in repr(loaded.settings)
    lines = "\n".join(value_lines("produce", loaded.given))
    assert "geheim" not in lines
    assert "user:***@mq.example.com" in lines


def test_no_secret_of_a_hook_is_ever_shown() -> None:
    """Neither the query of a URL nor the login that is refused."""
    consumer = {**CONSUMER, "TREECAST_ON_APPLIED": "https://host/purge?token=geheim"}
    loaded = load_consume({}, None, consumer)
    assert "geheim" not in repr(loaded.settings)
    lines = "\n".join(value_lines("consume", loaded.given))
    assert "https://host/purge?***" in lines
    assert "geheim" not in lines
    with pytest.raises(SettingError) as caught:
        load_consume({}, None, {**CONSUMER, "TREECAST_ON_APPLIED": "https://user:geheim@host/"})
    assert "geheim" not in str(caught.value)


def test_an_option_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"^--sorce: .*nearest is --source"):
        load_produce({"sorce": "/x"}, None, PRODUCER)


def test_an_unknown_variable_is_only_warned_about() -> None:
    """Kubernetes injects some; those of the other role, and those that are no settings, are known."""
    environ = {**PRODUCER, "TREECAST_PORT": "tcp://10.0.0.1", "TREECAST_TARGE": "/x", "TREECAST_DEBUG": "1"}
    lines = unknown_variables({**environ, "TREECAST_TARGET": "/srv", "OTHER": "x"})
    assert len(lines) == 2
    assert lines[0].startswith("TREECAST_PORT is set and is no setting")
    assert lines[1].endswith("the nearest is TREECAST_TARGET")
    assert load_produce({}, None, environ).warnings == lines


def test_only_what_looks_alike_is_offered() -> None:
    """A prefix that all have makes nothing alike."""
    (line,) = unknown_variables({"TREECAST_FOO": "1"})
    assert line == "TREECAST_FOO is set and is no setting of treecast"
    with pytest.raises(SettingError, match=r"^--bogus: .*allowed: an option of treecast produce$"):
        parse_options("produce", ["--bogus", "3"], "treecast produce")


def test_an_option_of_the_other_role_and_one_without_its_value_are_named_as_that() -> None:
    with pytest.raises(SettingError, match=r"it is one of treecast consume$"):
        parse_options("produce", ["--target", "/x"], "treecast produce")
    with pytest.raises(SettingError, match=r"^--tree: found nothing"):
        parse_options("produce", ["--tree"], "treecast produce")


def test_values_can_be_shown_before_all_are_given() -> None:
    """`treecast settings` works on a machine where nothing is set yet; what is set wrong is told nevertheless."""
    given = gather("consume", {}, None, {"TREECAST_TREE": "t"})
    judge_given("consume", given)
    lines = value_lines("consume", given)
    assert len(lines) == len(settings_of(MODELS["consume"]))
    assert any(line.startswith("--target") and line.endswith("(must be given)") for line in lines)
    with pytest.raises(SettingError, match="TREECAST_TREE"):
        judge_given("consume", gather("consume", {}, None, {"TREECAST_TREE": "T"}))


def test_the_page_of_settings_is_the_generated_one() -> None:
    """docs/settings.md cannot lie: between its markers stands what the models say."""
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text()
    between = page.partition("<!-- settings -->\n")[2].partition("<!-- /settings -->")[0]
    assert between.strip() == settings_table().strip(), "run: python -m common.settings_table"


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2), ("500ms", 0.5), ("1h", 3600), ("7d", 604_800), ("1.5", 1.5), (3, 3), ("5 m", 300)]
)
def test_times_have_units(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(("text", "is_allowed"), [("1s", True), ("24h", True), ("0.9s", False), ("24.01h", False)])
def test_a_hook_has_between_a_second_and_a_day(text: str, is_allowed: bool) -> None:
    """No timer of the system takes any number of days."""
    if is_allowed:
        assert parse_timeout(text) == parse_seconds(text)
        return
    with pytest.raises(ValueError, match="1 s to 24 h"):
        parse_timeout(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 1 << 30), ("10 MB", 10**7), ("512", 512), (4096, 4096), ("0.5KiB", 512)]
)
def test_sizes_have_units(text: object, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1X", "-1s", "1e3", True, None, "1_000", "٣s", "nan", "inf"])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    for parse in (parse_seconds, parse_size_bytes):
        with pytest.raises(ValueError, match="number with"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("2GiB,3d", QueueLimits(2 << 30, 3 * 86_400)),
        ("12h, 1MiB", QueueLimits(1 << 20, 12 * 3600)),
        ("5GB", QueueLimits(5 * 10**9)),
        ("30d", QueueLimits(limit_seconds=30 * 86_400.0)),
    ],
)
def test_a_queue_limit_is_a_size_an_age_or_both(text: str, limits: QueueLimits) -> None:
    assert parse_queue_limit(text) == limits


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9100", "", 9100),
        (":9100", "", 9100),
        (9100, "", 9100),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:9100", "::1", 9100),
    ],
)
def test_listen_takes_a_port_or_an_address(text: object, host: str, port: int) -> None:
    assert parse_listen(text) == ListenAddress(host, port)
    assert parse_listen(str(parse_listen(text))) == ListenAddress(host, port)
