"""The digest of a tree, worked out from a plain dict, as it must stand in batches and proofs. None of the product's code."""

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from tests.machine.disk import Node
from tests.machine.rules import Rules, document_of
from tests.machine.wire import PATTERNS, digest_of

BUCKET_BITS = 3
"""Few buckets, so that a small tree has several paths in one."""
_FIXED = Struct(">IBHqQB")
_KINDS = {"f": 1, "d": 2, "l": 3}
_MODULUS = 1 << 256
LINK_MODE = 0o777


def tree_digest(salt: bytes, tree: dict[bytes, Node], rules: Rules) -> bytes:
    """As docs/wire.md has it: for each bucket the sum over its entries, and one hash over all of them."""
    sums = [0] * (1 << BUCKET_BITS)
    nodes = dict(tree)
    if rules:
        nodes[PATTERNS] = ("f", 0, 0, document_of(rules))
    for path, node in nodes.items():
        bucket, term = _term(salt, path, node)
        sums[bucket] += term
    flat = b"".join((total % _MODULUS).to_bytes(32, "big") for total in sums)
    return blake2b(flat, digest_size=32, key=salt, person=b"tree").digest()


@lru_cache(1 << 14)
def _term(salt: bytes, path: bytes, node: Node) -> tuple[int, int]:
    """The bucket of one entry, and what it adds there."""
    bucket = int.from_bytes(blake2b(path, digest_size=2, key=salt, person=b"bucket").digest(), "big") >> (
        16 - BUCKET_BITS
    )
    content = node[-1] if isinstance(node[-1], bytes) else b""
    digest = digest_of(content) if node[0] != "d" else b""
    mode = node[1] if node[0] != "l" else LINK_MODE
    mtime_ns = node[2] if node[0] == "f" else 0
    fixed = _FIXED.pack(len(path), _KINDS[str(node[0])], mode, mtime_ns, len(content), len(digest))
    return bucket, int.from_bytes(
        blake2b(fixed + path + digest, digest_size=32, key=salt, person=b"entry").digest(), "big"
    )
