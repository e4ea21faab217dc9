"""What our programs say: help texts of every command, and the texts of exceptions in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click

PACKAGES = ("neucodex", "shared", "edge_client", "cloud_server", "training", "benchmarks")


def help_texts(path: str, command: click.Command) -> Iterator[tuple[str, str]]:
    """(where, text) for the help of a command, of its options, and of the commands in it."""
    for text in (command.help, command.epilog):
        if text:
            yield path, text
    for option in command.params:
        if isinstance(option, click.Option) and option.help:
            yield f"{path} {option.opts[0]}", option.help
    for name, inner in getattr(command, "commands", {}).items():
        yield from help_texts(f"{path} {name}", inner)


def error_messages(root: Path) -> Iterator[tuple[str, str]]:
    """(where, text) for every exception that is raised with a text. What is filled in is left out."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    for argument in node.exc.args:
                        if text := _text(argument):
                            yield f"{file.relative_to(root)}:{node.lineno}", text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ""
