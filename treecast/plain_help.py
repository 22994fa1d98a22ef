"""Does: prints a command's help in plain lines, like those of `produce` and `consume`. Knows Typer, and no command of ours."""

from typing import Any

from typer.core import TyperCommand


class PlainCommand(TyperCommand):
    """A command whose usage and arguments are written as in a manual: `SOURCE REPLICA...`, without types and braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """See click."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """See click: arguments first, then options."""
        parameters: list[Any] = self.get_params(ctx)
        arguments = [one for one in parameters if one.param_type_name == "argument"]
        options = [one for one in parameters if one.param_type_name == "option"]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(one.metavar or one.name, one.help or "") for one in arguments])
        with formatter.section("Options"):
            formatter.write_dl([record for one in options if (record := one.get_help_record(ctx))])
