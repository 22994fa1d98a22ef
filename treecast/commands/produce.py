"""`treecast produce`. Its options are the settings' own, read by the shell that `python -m producer` uses too."""

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@app.command(context_settings=PASS_ON)
def produce(context: typer.Context) -> None:
    """Publish what changes in the master's directory, as a service."""
    from common.process import run_produce
    from producer.__main__ import load

    raise typer.Exit(run_produce(context.args, load, "treecast produce"))
