"""`neucodex-train make-key` and `sign`: a pair of keys, and a bundle that says whose it is."""

from __future__ import annotations

from pathlib import Path

import click

from shared.bundle import Bundle
from shared.command_line import existing_path, option
from shared.signatures import PUBLIC
from shared.signatures import make_key as write_key
from shared.signatures import sign as add_signature


@click.command("make-key")
@click.argument("key", type=existing_path, metavar="FILE")
def make_key(key: Path) -> None:
    """Write a new Ed25519 key to FILE, and the public one to FILE.pub.

    FILE signs bundles: keep it where they are made. FILE.pub is for --trust of edges and clouds.
    """
    name = write_key(key)
    click.echo(f"key {name}: keep {key}; bring {key}{PUBLIC} to every edge and cloud, for --trust")


@click.command()
@click.argument("bundle", type=existing_path, metavar="BUNDLE")
@option("--key", type=existing_path, required=True, metavar="FILE", help="The private key, see make-key.")
def sign(bundle: Path, key: Path) -> None:
    """Sign a bundle. Signatures of other keys stay.

    The fingerprint is signed, and so every file that the manifest names. A bundle that is changed loses its signatures.
    """
    opened = Bundle.open(bundle)
    opened.check_files()
    name = add_signature(bundle, opened.fingerprint, key)
    click.echo(f"{bundle}: fingerprint {opened.fingerprint.hex()[:12]} signed by key {name}")
