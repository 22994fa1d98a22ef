"""Does: tells which of the paths that somebody names are nobody's, as the verb `paths-unknown` of the control socket.

`paths` (base64; in the tree, or absolute below the source). Whoever takes the current directory for the tree names what is not
there and never was. All of it is done in the thread of the one who asks, on a connection of its own.
"""

import os
from base64 import b64decode
from collections.abc import Collection
from pathlib import Path
from typing import Any

from common.names import ROOT, escape
from common.orders import Finish, Handler
from producer import changelog, journal_schema
from producer.typed_paths import in_tree

NAMED_LIMIT = 3
LATELY_CHANGES = 100_000
"""Of what is gone so many changes are looked through: who deletes a file and says so is right."""
_PUBLISHED = "SELECT 1 FROM entry WHERE path = ?"
_HIGHEST = "SELECT coalesce(max(last), 0) FROM log"


def path_handlers(journal: Path, source: bytes) -> dict[str, Handler]:
    """The verb. `journal`: its database; `source`: the master's directory."""

    def asked(arguments: dict[str, Any]) -> Finish:
        typed = [b64decode(text) for text in arguments.get("paths") or ()]

        def finish() -> dict[str, Any]:
            absent = [path for path in (in_tree(one, source) for one in typed) if not _is_there(source, path)]
            unknown = _unknown(journal, absent) if absent else []
            return {"unknown": len(unknown), "named": [escape(path) for path in unknown[:NAMED_LIMIT]]}

        return finish

    return {"paths-unknown": asked}


def _is_there(source: bytes, path: bytes) -> bool:
    return path == ROOT or os.path.lexists(os.path.join(source, path))


def _unknown(journal: Path, absent: Collection[bytes]) -> list[bytes]:
    """Those that are neither published nor changed lately."""
    with journal_schema.converted(journal):
        database = journal_schema.open_reader(journal)
        try:
            unpublished = [path for path in absent if database.execute(_PUBLISHED, (path,)).fetchone() is None]
            ((highest,),) = database.execute(_HIGHEST)
            lately = changelog.paths_since(database, highest - LATELY_CHANGES, 2 * LATELY_CHANGES) or ()
        finally:
            database.close()
    return [path for path in unpublished if path not in lately]
