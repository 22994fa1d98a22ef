"""Does: asks RabbitMQ's management API, which shows policies, bindings and what AMQP keeps to itself. It only reads.

GET /api/queues/VHOST          of this tree: arguments, policy, effective_policy_definition
GET /api/queues/VHOST/Q/bindings, /api/policies/VHOST/P, /api/health/checks/alarms
"""

import base64
import email.utils
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from common.errors import SettingError, UnreachableError
from common.names import escape
from common.transport.amqp_topology import PREFIX
from treecast.doctor.queues import Queue

SETTING = "--management"
ALLOWED = "http://USER:PASSWORD@HOST:15672, or https://; without a user, the broker's own account is taken"
TIMEOUT_SECONDS = 10.0
ANSWER_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks."""

    user: str
    password: str


class Management:
    """One API. Methods raise UnreachableError where it cannot be asked, or refuses."""

    def __init__(self, url: str, fallback: Login, cafile: str | None) -> None:
        """`fallback`: for a URL without a user. Raises SettingError for what is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise SettingError(SETTING, f"{parts.scheme}://{parts.hostname}", ALLOWED)
        user, password = unquote(parts.username or fallback.user), unquote(parts.password or "")
        login = f"{user}:{password if parts.username else fallback.password}"
        self._authorization = "Basic " + base64.b64encode(login.encode()).decode()
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._base = f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 15672)}"
        self._base += parts.path.rstrip("/") + "/api"
        context = ssl.create_default_context(cafile=cafile) if parts.scheme == "https" else None
        handlers = [urllib.request.HTTPSHandler(context=context)] if context is not None else []
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
        self.ahead_seconds: float | None = None
        """How far this machine's clock is before the broker's, since the first answer."""

    def queues(self, vhost: str, tree: str) -> list[Queue]:
        """Every queue of this tree, by name."""
        prefix = f"{PREFIX}.{tree}."
        listed = self._get(f"/queues/{_quoted(vhost)}")
        return [self._queue(vhost, one) for one in listed if str(one.get("name", "")).startswith(prefix)]

    def alarms(self) -> str:
        """Why the broker takes no publishes just now; "" for no reason, None-like where this account may not ask."""
        try:
            self._get("/health/checks/alarms")
        except UnreachableError as error:
            return str(error) if "503" in str(error) else ""
        return ""

    def _queue(self, vhost: str, told: dict[str, Any]) -> Queue:
        name, policy = str(told["name"]), str(told.get("policy") or "")
        return Queue(
            name,
            arguments=told.get("arguments") or {},
            policy=told.get("effective_policy_definition") or {},
            policy_name=policy,
            policy_priority=self._priority(vhost, policy),
            sources=self._sources(vhost, name),
        )

    def _priority(self, vhost: str, policy: str) -> int | None:
        """None where there is none, or this account may not see policies as such."""
        if not policy:
            return 0
        try:
            return int(self._get(f"/policies/{_quoted(vhost)}/{_quoted(policy)}")["priority"])
        except (UnreachableError, KeyError, TypeError, ValueError):
            return None

    def _sources(self, vhost: str, queue: str) -> frozenset[str] | None:
        try:
            bindings = self._get(f"/queues/{_quoted(vhost)}/{_quoted(queue)}/bindings")
        except UnreachableError:
            return None
        return frozenset(str(one.get("source")) for one in bindings)

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self._base + path, headers={"Authorization": self._authorization})
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                if self.ahead_seconds is None:
                    self.ahead_seconds = _ahead(answer.headers.get("Date"))
                return json.loads(answer.read(ANSWER_LIMIT_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                words = escape(error.read(500))
            raise UnreachableError(f"{self._base} answers {error.code}: {words}") from error
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{self._base} cannot be asked: {error}") from error


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _ahead(date: str | None) -> float | None:
    try:
        return time.time() - email.utils.parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return None
