"""`treecast consume`. Its options are the settings' own, read by the shell that `python -m consumer` uses too."""

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@app.command(context_settings=PASS_ON)
def consume(context: typer.Context) -> None:
    """Keep a replica's directory equal to the master's, as a service."""
    from common.process import run_consume
    from consumer.__main__ import load

    raise typer.Exit(run_consume(context.args, load, "treecast consume"))
