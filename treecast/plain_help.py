"""Does: prints a command's help in plain lines, like those of `produce` and `consume`. Knows Typer, and no command of ours."""

import re
from typing import Any

from typer.core import TyperCommand

_TYPE = re.compile(r" <[^>]*>$")
"""What newer Typers put behind an argument: the name of its Python type."""


class PlainCommand(TyperCommand):
    """A command whose usage and arguments are written as in a manual: `SOURCE REPLICA...`, without types and braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """See click."""
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """See click: arguments first, then options."""
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                rows["Arguments"].append((_TYPE.sub("", record[0]), record[1].replace("  [required]", "")))
            else:
                rows["Options"].append(record)
        for title, lines in rows.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
