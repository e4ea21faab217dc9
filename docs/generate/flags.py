"""Pages of command-line flags, from the click commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from docs.generate.markdown import code, page, section, table

HEADER = ("flag", "default", "environment variable", "what it does")


def flags_page(program: str, command: click.Command) -> str:
    """Every command of a program with its arguments and options.

    Args:
        program: the name on the command line.
        command: what it runs.
    """
    title = program.rpartition(" ")[2] if program.startswith("python") else program
    introduction = (
        "Every flag can be given as its environment variable too; the command line wins. "
        "A flag that may be given more than once takes several values in its variable, separated by spaces."
    )
    return page(f"Flags of {title}", introduction, *_sections(program, command))


def _sections(path: str, command: click.Command) -> Iterator[str]:
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    rows = [_row(option, click.Context(command)) for option in options]
    text = cleandoc(command.help or "")
    yield section(
        path, _usage(path, command), text, table(HEADER, rows) if rows else "", cleandoc(command.epilog or "")
    )
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _sections(f"{path} {name}", inner)


def _usage(path: str, command: click.Command) -> str:
    with click.Context(command, info_name=path) as context:
        return "    " + " ".join([path, *command.collect_usage_pieces(context)])


def _row(option: click.Option, context: click.Context) -> list[str]:
    names = "/".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else " " + option.make_metavar(context)
    several = " May be given more than once." if option.multiple else ""
    variable = option.envvar if isinstance(option.envvar, str) else ""
    return [code(names + value), _default(option), code(variable), (option.help or "") + several]


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    default = option.default
    if option.is_flag or default in (None, ()) or not option.show_default:
        return ""
    if isinstance(default, tuple):
        return code(":".join(str(part) for part in default))
    return code(str(default))
