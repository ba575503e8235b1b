"""The page of the `shop` command: what `--help` says, of every command."""

import inspect
from collections.abc import Iterator

import click

from reference.markdown import MADE, code, table
from shop.entrypoints.cli.main import main


def commands() -> Iterator[click.Context]:
    """All that can be run, in the order of their names."""
    yield from _below(click.Context(main, info_name="shop"))


def _below(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        yield context
        return
    for name in sorted(group.commands):
        yield from _below(click.Context(group.commands[name], parent=context, info_name=name))


def page() -> str:
    parts = [
        MADE,
        "# Commands\n\n",
        f"{_paragraphs(main.help)}\n",
        f"\n{_paragraphs(main.epilog)}\n",
        "\nEvery command has `--help`, which says what is below.\n",
    ]
    for context in commands():
        parts.append(_section(context))
    return "".join(parts)


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    text = f"\n## {context.command_path}\n\n```\n{usage}\n```\n\n{_paragraphs(command.help)}\n"
    rows = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and parameter.name != "help"
        if (record := parameter.get_help_record(context))
    ]
    if rows:
        options = [(code(name), about) for name, about in rows]
        text += f"\n{table(('option', 'what'), options)}"
    return text


def _paragraphs(text: str | None) -> str:
    """Without the lines that were broken for a terminal."""
    paragraphs = inspect.cleandoc(text or "").replace("\b\n", "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)
