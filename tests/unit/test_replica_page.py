"""What `treecast replica` prints."""

from treecast.replica_page import environment, listed

PERMISSIONS = r"'^treecast\.playlists\.upstream$' '^treecast\.playlists\.replica\.fra7$'"


def settings(text: str) -> dict[str, str]:
    """As `docker run --env-file` reads them: what stands behind the sign, quotes too. A shell and systemd read the same."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_a_new_machine_is_told_its_own_account_and_never_a_password() -> None:
    broker = "amqps://producer:***@broker.example.com:5671/treecast?cafile=/etc/treecast/ca.pem"
    told = settings(environment({"name": "fra7", "labels": {"region": "eu"}}, "playlists", broker))
    assert told["TREECAST_BROKER"] == "amqps://fra7@broker.example.com:5671/treecast?cafile=/etc/treecast/ca.pem"
    assert told["TREECAST_LABELS"] == "region=eu"
    assert told["TREECAST_BROKER_PASSWORD_FILE"] == "/etc/treecast/password"
    assert "***" not in environment({"name": "fra7", "labels": {}}, "playlists", broker)


def test_a_new_machines_account_is_two_lines_for_the_broker() -> None:
    """As comments: the user, and the least that it may do, in the vhost of the producer's URL."""
    broker = "amqps://producer:***@broker.example.com:5671/treecast?cafile=/etc/treecast/ca.pem"
    told = environment({"name": "fra7", "labels": {}}, "playlists", broker).splitlines()
    assert [line for line in told if "rabbitmqctl" in line] == [
        "#   rabbitmqctl add_user fra7 'choose-a-password'",
        "#   rabbitmqctl set_permissions -p treecast fra7 '^$' " + PERMISSIONS,
    ]


def test_what_a_shell_would_take_apart_is_quoted() -> None:
    """A URL with two parameters would end at the sign between them."""
    broker = "amqps://broker.example.com/?certfile=/a.pem&keyfile=/b.pem"
    told = settings(environment({"name": "fra7", "labels": {}}, "playlists", broker))
    assert told["TREECAST_BROKER"] == f"'{broker}'"


def test_the_embedded_queue_has_no_password() -> None:
    told = settings(environment({"name": "b", "labels": {}}, "t", "sqlite:////srv/queue.db"))
    assert told == {"TREECAST_TREE": "t", "TREECAST_REPLICA": "b", "TREECAST_BROKER": "sqlite:////srv/queue.db"}


def test_the_list_has_a_line_for_each() -> None:
    replicas = {
        "a": {"word": "equal", "labels": {"region": "eu"}, "heard": 1.0, "ephemeral": False},
        "long": {"word": "new", "labels": {}, "heard": 0.0, "ephemeral": True},
    }
    assert list(listed(replicas, lambda _: "12:00")) == [
        "a     equal     region=eu  heard 12:00",
        "long  new       -  never heard of  ephemeral",
    ]
