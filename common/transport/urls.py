"""Decides what a broker's URL says. Knows spellings; knows no socket, no file and no pika."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from common.errors import SettingError

SETTING = "TREECAST_BROKER"
ALLOWED = "sqlite:////absolute/path (four slashes), amqp://user@host:5672/vhost or amqps://user@host:5671/vhost"
_AMQP_PORTS = {"amqp": 5672, "amqps": 5671}
_PASSWORD = re.compile(r"^((?:[^:/@]+://[^:@]*)|(?:(?![^:/@]+://)[^:@]*)):.*@", re.DOTALL)
"""From the first colon behind the scheme, or the first at all, to the last @: rather too much than too little."""
_SECRET_OPTIONS = re.compile(r"(ssl_options=)[^&]*password[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EmbeddedUrl:
    """The embedded transport: a database file on this machine, by its absolute path."""

    path: Path


@dataclass(frozen=True, slots=True)
class AmqpUrl:
    """A RabbitMQ. Everything is decoded but `query`, which stays as pika takes it ("" when there is none)."""

    is_tls: bool
    host: str
    port: int
    vhost: str
    user: str
    password: str
    query: str

    def text(self, password: str | None = None) -> str:
        """The whole URL in its one spelling, secrets included: for pika. `password`, if given, wins."""
        secret = self.password if password is None else password
        # pika cannot do with a user and no colon.
        login = f"{quote(self.user, safe='')}:{quote(secret, safe='')}" if self.user or secret else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "amqps" if self.is_tls else "amqp"
        address = f"{scheme}://{login}{'@' if login else ''}{host}:{self.port}/{quote(self.vhost, safe='')}"
        return f"{address}?{self.query}" if self.query else address


def parse_url(url: str) -> EmbeddedUrl | AmqpUrl:
    """What a broker's URL says. Raises SettingError, with the right spelling and no password, for anything else."""
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return _embedded(url)
    if scheme in _AMQP_PORTS:
        return _amqp(url, scheme)
    raise SettingError(SETTING, shown(url), ALLOWED)


def shown(url: str) -> str:
    """The URL as a person or a log may see it: no password. Works for malformed ones too."""
    if url.lower().startswith("sqlite:"):
        return url
    return _SECRET_OPTIONS.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def _embedded(url: str) -> EmbeddedUrl:
    rest = url.partition(":")[2]
    path = rest.lstrip("/")
    if not path or path.endswith("/") or any(sign in path for sign in "?#\0"):
        raise SettingError(SETTING, shown(url), "sqlite:////absolute/path/of/a/file, without parameters")
    if rest != "////" + path:
        raise SettingError(SETTING, shown(url), f"an absolute path after four slashes, as in sqlite:////{path}")
    return EmbeddedUrl(Path("/" + path))


def _amqp(url: str, scheme: str) -> AmqpUrl:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # The error's own text may quote the part that holds the password.
        raise SettingError(SETTING, shown(url), f"a host and a port from 1 to 65535: {ALLOWED}") from error
    if not parts.hostname or port == 0 or parts.fragment:
        raise SettingError(SETTING, shown(url), ALLOWED)
    return AmqpUrl(
        is_tls=scheme == "amqps",
        host=parts.hostname,
        port=port or _AMQP_PORTS[scheme],
        vhost=_vhost(url, parts),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        query=parts.query,
    )


def _vhost(url: str, parts: SplitResult) -> str:
    name = parts.path[1:]
    if "/" in name:
        raise SettingError(SETTING, shown(url), "one vhost after the host; a slash in its name is written %2F")
    return unquote(name) or "/"
