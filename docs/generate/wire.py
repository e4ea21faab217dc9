"""The page of messages on the wire, from the compiled `protos/co_inference.proto` and the comments in its text.

Compiled code has no comments, so fields and numbers come from it and the comments are found in the text by name.
"""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from docs.generate.markdown import code, page, section, table
from protos import co_inference_pb2

PROTO = Path(__file__).parents[2] / "protos" / "co_inference.proto"

Comments = dict[str, str]
"""Full name in the file, such as Frame.sample, to its comment."""

_OPENS = re.compile(r"(message|enum|oneof|service) (\w+) \{")
_DECLARES = re.compile(r"(?:repeated )?(?:[\w.]+ )?(\w+) = \d+;")


def wire_page() -> str:
    """Every message, enumeration and field of the protocol."""
    comments = read_comments(PROTO.read_text())
    file = co_inference_pb2.DESCRIPTOR
    service = file.services_by_name["CoInference"]
    methods = ", ".join(
        f"`{method.name}`, a stream of {method.input_type.name} answered by a stream of {method.output_type.name}"
        for method in service.methods
    )
    introduction = (
        f"Package `{file.package}`, service `{service.name}`: {methods}. "
        "[The wire format](../wire-format.md) says in which order messages go, and has the bytes of a frame."
    )
    messages = [_message(message, comments) for message in file.message_types_by_name.values()]
    enums = [_enum(enum, comments) for enum in file.enum_types_by_name.values()]
    return page("Messages on the wire", introduction, *messages, *enums)


def read_comments(text: str) -> Comments:
    """The comments that stand right above each message, enumeration, field and value."""
    comments: Comments = {}
    opened: list[str | None] = []
    above: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("//"):
            above.append(line.removeprefix("//").strip())
            continue
        opens, declares = _OPENS.match(line), _DECLARES.match(line)
        if name := (opens or declares) and (opens[2] if opens else declares[1] if declares else None):
            comments[".".join([*(each for each in opened if each), name])] = " ".join(above)
        if opens:  # the fields of a oneof belong to its message
            opened.append(None if opens[1] == "oneof" else opens[2])
        elif line == "}":
            opened.pop()
        above = []
    return comments


def _message(message: Descriptor, comments: Comments) -> str:
    name = message.full_name.removeprefix(f"{message.file.package}.")
    rows = [
        (str(field.number), code(field.name), _type(field), comments[f"{name}.{field.name}"])
        for field in message.fields
    ]
    inner = [_enum(enum, comments) for enum in message.enum_types]
    return "\n\n".join([section(name, comments[name], table(("number", "field", "type", "what it is"), rows)), *inner])


def _enum(enum: EnumDescriptor, comments: Comments) -> str:
    name = enum.full_name.removeprefix(f"{enum.file.package}.")
    inside = name.rpartition(".")[0]
    rows = [(str(value.number), code(value.name), comments[f"{name}.{value.name}"]) for value in enum.values]
    return section(name, comments[name], table(("number", "value", "what it is"), rows), level=3 if inside else 2)


def _type(field: FieldDescriptor) -> str:
    kind = field.message_type or field.enum_type
    name = kind.name if kind is not None else _SCALARS[field.type]
    return f"repeated {name}" if field.is_repeated else name


_SCALARS = {
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_STRING: "string",
}
