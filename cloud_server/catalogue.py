"""Which bundles a cloud is to serve, as the folders are at the moment."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_server.config import CloudConfig
from shared.bundle import MANIFEST, Bundle
from shared.errors import ConfigError
from shared.spike_codec import SpikeCodec

MESSAGE_SLACK = 1024
"""Bytes that a message may have beyond its frame: its own fields, and the requests of health checks and reflection."""


def read_bundles(config: CloudConfig) -> list[Bundle]:
    """Open every bundle named by the command line, and every one in the folder that it names.

    Returns:
        A bundle for each execution that is to be served.

    Raises:
        ConfigError: there is none, one is there twice, or one has no such execution.
        BundleError: one cannot be read.
    """
    paths = list(config.bundles)
    if config.bundles_dir is not None:
        paths += sorted(manifest.parent for manifest in config.bundles_dir.glob(f"*/{MANIFEST}"))
    if not paths:
        raise ConfigError(f"no bundle to serve: {config.bundles_dir} has no subfolder with a {MANIFEST}")
    found: dict[bytes, Bundle] = {}
    for path in paths:
        bundle = Bundle.open(path)
        twin = found.setdefault(bundle.fingerprint, bundle)
        if twin is not bundle:
            raise ConfigError(f"the same bundle is to be served more than once: {twin.path}, {path}")
    return [view for bundle in found.values() for view in _views(bundle, config)]


def _views(bundle: Bundle, config: CloudConfig) -> list[Bundle]:
    """The bundle in each execution that is to be served, its default first."""
    if config.execution != "all":
        return [bundle if config.execution is None else bundle.run_as(config.execution)]
    others = (name for name in bundle.manifest.executions if name != bundle.execution)
    return [bundle, *map(bundle.run_as, others)]


def longest_message(bundles: Sequence[Bundle]) -> int:
    """Bytes of the longest message that edges with these bundles send."""
    return max(SpikeCodec(bundle.manifest.frame_shape).max_bytes for bundle in bundles) + MESSAGE_SLACK
