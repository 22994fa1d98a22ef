"""What exclude patterns mean, for the few kinds that stories use: `name`, `name/`, `/name`, `*.ext`, and `!` before any.

None of the product's code. The last rule that fits counts; what is below an excluded directory is excluded, whatever else says.
"""

from functools import lru_cache

Rules = tuple[str, ...]


def document_of(rules: Rules) -> bytes:
    """As the rules are published."""
    return "".join(f"{rule}\n" for rule in rules).encode()


def rules_in(document: bytes) -> Rules:
    """What a published document says."""
    return tuple(document.decode().split("\n")[:-1])


@lru_cache(1 << 14)
def excludes(rules: Rules, path: bytes, is_directory: bool) -> bool:
    """Whether a path, or a directory above it, is excluded."""
    names = path.split(b"/")
    for depth in range(1, len(names) + 1):
        is_above = depth < len(names)
        if _last_says(rules, names[:depth], is_directory or is_above):
            return True
    return False


def _last_says(rules: Rules, names: list[bytes], is_directory: bool) -> bool:
    said = False
    for rule in rules:
        is_negated, text = rule.startswith("!"), rule.removeprefix("!")
        if text.endswith("/"):
            if not is_directory:
                continue
            text = text[:-1]
        if _fits(text.encode(), names):
            said = not is_negated
    return said


def _fits(text: bytes, names: list[bytes]) -> bool:
    if text.startswith(b"/"):
        return len(names) == 1 and names[0] == text[1:]
    if text.startswith(b"*"):
        return names[-1].endswith(text[1:])
    return names[-1] == text
