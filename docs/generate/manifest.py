"""The page of the fields of `manifest.json`, from the dataclasses that read it and their docstrings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from docs.generate.markdown import code, page, section, table
from shared.exit_policy import ExitPolicy
from shared.manifest import EXTRAS, HALVES, ExecutionSpec, LocalExitSpec, Manifest, Normalisation, file_name
from shared.manifest_file import FORMAT, VERSION
from shared.network_spec import BottleneckSpec, LightHeadSpec, NetworkSpec, NeuronSpec

PARTS: tuple[tuple[str, type], ...] = (
    ("The top level", Manifest),
    ("network", NetworkSpec),
    ("network.neuron", NeuronSpec),
    ("network.bottleneck", BottleneckSpec),
    ("network.light", LightHeadSpec),
    ("normalisation", Normalisation),
    ("executions.NAME", ExecutionSpec),
    ("executions.NAME.local_exit", LocalExitSpec),
    ("exit_policy", ExitPolicy),
)

HEADER = ("field", "type", "default", "what it is")


def manifest_page() -> str:
    """Every field of a bundle's manifest. A field that its docstring does not describe is a mistake and raises."""
    introduction = (
        f'`manifest.json` is a JSON object. Besides the fields below it has `format` ("{FORMAT}"), `version` '
        f"({VERSION}) and `files`: for each part of the bundle an object with the `sha256` of its file. "
        "[Architecture](../architecture.md#the-bundle) says what a bundle is."
    )
    files = [(code(part), code(file_name(part))) for part in (*HALVES, *EXTRAS)]
    return page(
        "Fields of a bundle's manifest",
        introduction,
        *(section(name, *fields_of(described)) for name, described in PARTS),
        section("files", "Only `head` and `tail` are in every bundle.", table(("part", "file"), files)),
    )


def fields_of(described: type) -> tuple[str, str]:
    """What a dataclass is, and the table of its fields.

    Raises:
        ValueError: a field is not described under `Attributes:`.
    """
    text = docstring_parser.parse(described.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
    said = {entry.arg_name: entry.description or "" for entry in text.params}
    hints = get_type_hints(described)
    fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(described)
    rows = []
    for field in fields:
        if not said.get(field.name):
            raise ValueError(f"{described.__name__}.{field.name} is not described: add it to the class's Attributes")
        rows.append((code(field.name), _type(hints[field.name]), _default(field), said[field.name]))
    return (text.description or "").strip(), table(HEADER, rows)


def _type(hint: Any) -> str:
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return ", ".join(code(f'"{value}"') for value in inner)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join("null" if each is NoneType else _type(each) for each in inner)
    if get_origin(hint) is tuple:
        return (
            f"list of {_type(inner[0])}" if inner[-1] is Ellipsis else f"[{', '.join(_type(each) for each in inner)}]"
        )
    if get_origin(hint) is not None:
        return "object"
    if dataclasses.is_dataclass(hint):
        return "object"
    return {str: "string", int: "integer", float: "number", bool: "true or false"}[hint]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return code(json.dumps(field.default))
    if field.default_factory is dataclasses.MISSING:
        return "required"
    return code("{}") if field.default_factory is dict else "as below"
