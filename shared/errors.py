"""Every exception this project raises on purpose. Catch `NeucodexError` to catch them all.

NeucodexError
|-- ConfigError           a flag, an environment variable or a recipe is wrong
|   `-- SpecError         a network description is wrong
|-- BundleError           a bundle is missing, damaged, or not one this version reads
|-- SourceError           an input (picture, data set, recording) cannot be read
|-- OutputError           results cannot be written
|-- WireError             bytes or messages from the other side break the protocol
|   `-- CodecError        a frame does not decode to the bundle's shape
|-- EngineFailed          the cloud cannot step anything any more
|-- CloudUnavailable      no cloud within the deadline, or the link was lost
|-- CloudRefused          the cloud is there and will not serve this edge; trying again does not help
`-- SampleRejected        the cloud gave up one sample; the stream lives on
"""

from __future__ import annotations

import copy
from typing import TypeVar

_Error = TypeVar("_Error", bound="NeucodexError")


class NeucodexError(Exception):
    """Base of all our exceptions. Its text is one line for people."""

    exit_code = 1

    def fresh_copy(self: _Error) -> _Error:
        """A copy that was never raised. An exception that is kept, or raised twice, refers to every stack frame it went
        through.
        """
        return copy.copy(self)


class ConfigError(NeucodexError):
    """A flag, environment variable or recipe field has a value that cannot be used."""

    exit_code = 2


class SpecError(ConfigError):
    """A `NetworkSpec` field is unknown, missing or out of range."""


class BundleError(NeucodexError):
    """A bundle is missing, damaged, truncated or foreign."""

    exit_code = 3


class SourceError(NeucodexError):
    """An input cannot be read: the message names the file and what was expected."""

    exit_code = 4


class OutputError(NeucodexError):
    """Results cannot be written: the disk is full, or a file or receiver is gone."""

    exit_code = 7


class WireError(NeucodexError):
    """The other side sent something the protocol does not allow."""


class CodecError(WireError):
    """Bytes that do not decode to exactly one frame of the bundle's shape."""


class EngineFailed(NeucodexError):
    """The cloud's engine cannot step anything any more: only another process can."""

    exit_code = 8


class CloudUnavailable(NeucodexError):
    """No cloud answered within the deadline, or the connection was lost and not regained.

    `retry_after_s` is how long the cloud asked to be left alone, 0 where it did not. `starting` says that there may be
    a cloud soon: it warms up, or nothing listens there yet.
    """

    exit_code = 5
    retry_after_s: float = 0.0
    starting: bool = False


class CloudRefused(NeucodexError):
    """The cloud answered and refused: wrong bundle, wrong version, not allowed."""

    exit_code = 6


class SampleRejected(NeucodexError):
    """The cloud rejected one sample, with a reason; the others go on."""
