"""Decides how a rule's expression is written so that no path makes it slow, and no class of characters fits a slash.

The library writes one star as one loop, and each tries all that the others leave: a name of 255 bytes keeps `*a*a*a*b` busy for
minutes, and others choose the names. But what stands between two stars may be taken where it is found first: all that a later
place leaves is left by an earlier one too. So all stars but the last of a component are atomic, and so are all `**` but the last.
"""

import re

_STAR = r"\[\^/\]\*"
_CLASS = r"\[\^?\]?[^\]]*\]"
_ONE = rf"(?:\\.|\(\?!/\){_CLASS}|\[\^/\](?![*+])|[^\\\[\]()/|$*+?.^{{}}])"
"""What fits one character."""
_PIECE = rf"(?:{_ONE}|/|\[\^/\][*+]|\(\?>\[\^/\]\*\?(?:{_ONE})+\))"
_ANY_ABOVE, _ANY_BETWEEN = r"\^\(\?:\.\+/\)\?", r"\(\?:/\.\+\)\?"

_ESCAPED_OR_CLASS = re.compile(rf"\\.|\[\^/\]|{_CLASS}", re.DOTALL)
_STARS = re.compile(rf"(?:{_STAR}){{2,}}")
_UP_TO_NEXT_STAR = re.compile(rf"{_STAR}((?:{_ONE})+)(?={_STAR})", re.DOTALL)
_FROM_ABOVE = re.compile(rf"{_ANY_ABOVE}((?:{_PIECE})+)(?={_ANY_BETWEEN})", re.DOTALL)
_BETWEEN = re.compile(rf"{_ANY_BETWEEN}((?:{_PIECE})+)(?={_ANY_BETWEEN})", re.DOTALL)


def in_components(expression: str) -> str:
    """The same, but no class of characters fits a slash, as in git."""
    return _ESCAPED_OR_CLASS.sub(lambda found: _guarded(found[0]), expression)


def without_backtracking(expression: str) -> str:
    """An expression of `in_components` that fits the same paths, in a time that their length bounds."""
    expression = _STARS.sub("[^/]*", expression)
    expression = _UP_TO_NEXT_STAR.sub(r"(?>[^/]*?\1)", expression)
    expression = _FROM_ABOVE.sub(r"^(?>(?:.+?/)??\1(?=/))", expression)
    return _BETWEEN.sub(r"(?>(?:/.+?)??\1(?=/))", expression)


def _guarded(found: str) -> str:
    return found if found.startswith("\\") or found == "[^/]" else f"(?!/){found}"
