"""Finds the bundles that a cloud is to serve, as they are in the folders now."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_server.config import CloudConfig
from shared.bundle import MANIFEST, Bundle
from shared.errors import ConfigError
from shared.spike_codec import SpikeCodec

MESSAGE_SLACK = 1024
"""Bytes of a message beyond its frame: its other fields. Requests of health checks and reflection fit into this too."""


def read_bundles(config: CloudConfig) -> list[Bundle]:
    """Open the bundles that the command line names, and those in `--bundles-dir`.

    Returns:
        One bundle for each execution that is to be served.

    Raises:
        ConfigError: there is no bundle, one is there twice, or one has no such execution.
        BundleError: a bundle cannot be read, or is not signed by a key of --trust.
    """
    paths = list(config.bundles)
    if config.bundles_dir is not None:
        paths += sorted(manifest.parent for manifest in config.bundles_dir.glob(f"*/{MANIFEST}"))
    if not paths:
        raise ConfigError(f"no bundle to serve: {config.bundles_dir} has no subfolder with a {MANIFEST}")
    found: dict[bytes, Bundle] = {}
    for path in paths:
        bundle = Bundle.open(path, trust=config.trust)
        twin = found.setdefault(bundle.fingerprint, bundle)
        if twin is not bundle:
            raise ConfigError(f"the same bundle is to be served more than once: {twin.path}, {path}")
    return [view for bundle in found.values() for view in _executions(bundle, config)]


def _executions(bundle: Bundle, config: CloudConfig) -> list[Bundle]:
    """The bundle in each execution that is to be served, its default execution first."""
    if config.execution != "all":
        return [bundle if config.execution is None else bundle.run_as(config.execution)]
    others = (name for name in bundle.manifest.executions if name != bundle.execution)
    return [bundle, *map(bundle.run_as, others)]


def longest_message(bundles: Sequence[Bundle]) -> int:
    """Bytes of the longest message that edges with these bundles send."""
    return max(SpikeCodec(bundle.manifest.frame_shape).max_bytes for bundle in bundles) + MESSAGE_SLACK
