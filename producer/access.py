"""Does: what the parts of a journal share: its connection, its transactions, its errors. Knows no table."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple


class Access(NamedTuple):
    """`transaction`: what is done inside becomes durable as one, or not at all. `converted`: SQLite's errors inside are ours."""

    database: sqlite3.Connection
    transaction: Callable[[], AbstractContextManager[None]]
    converted: Callable[[], AbstractContextManager[None]]
