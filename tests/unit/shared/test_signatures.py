"""Who signed a bundle: keys, signatures, and what a changed byte does to them."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.bundle import MANIFEST, Bundle
from shared.bundle_writer import write_graphs
from shared.errors import BundleError, ConfigError
from shared.manifest import HALVES
from shared.signatures import PUBLIC, SIGNATURES, make_key, sign
from training.__main__ import main_group
from training.commands.sign import sign as sign_command


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def public(key: Path) -> Path:
    return key.with_name(key.name + PUBLIC)


def signed(folder: Path, key: Path) -> Bundle:
    sign(folder, Bundle.open(folder).fingerprint, key)
    return Bundle.open(folder, trust=[public(key)])


def other_key(tmp_path: Path) -> Path:
    make_key(tmp_path / "theirs")
    return tmp_path / "theirs"


def test_a_key_is_for_its_owner_alone_and_is_never_replaced(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes(), public(key).read_bytes()
    with pytest.raises(ConfigError, match="exists: keys are not replaced"):
        make_key(key)
    assert (key.read_bytes(), public(key).read_bytes()) == before


def test_a_key_made_by_openssl_signs_too(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "openssl"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public(key)], check=True)
    assert signed(folder, key).fingerprint


def test_what_was_signed_is_taken_and_what_was_not_is_refused(folder: Path, key: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="it bears no signature"):
        Bundle.open(folder, trust=[public(key)])
    fingerprint = Bundle.open(folder).fingerprint
    assert signed(folder, key).fingerprint == fingerprint, "a signature changes no fingerprint"
    assert Bundle.open(folder).fingerprint == fingerprint, "without --trust it is of no matter"
    with pytest.raises(BundleError, match="it bears signatures of"):
        Bundle.open(folder, trust=[public(other_key(tmp_path))])


@pytest.mark.parametrize("part", HALVES)
def test_a_changed_byte_is_refused_where_the_file_is_read(folder: Path, key: Path, part: str) -> None:
    opened = signed(folder, key)
    file = folder / f"{part}.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(BundleError, match="is not the file its manifest names"):
        opened.weights(part)  # type: ignore[arg-type]
    done = CliRunner().invoke(main_group, ["sign", str(folder), "--key", str(key)])
    assert isinstance(done.exception, BundleError), "nobody signs that either"


def test_a_changed_manifest_is_refused(folder: Path, key: Path) -> None:
    signed(folder, key)
    manifest = folder / MANIFEST
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(BundleError, match="it was changed after it was signed"):
        Bundle.open(folder, trust=[public(key)])


def test_a_signature_of_another_bundle_does_not_do(folder: Path, key: Path, tmp_path: Path) -> None:
    sign(folder, bytes(32), key)
    with pytest.raises(BundleError, match="it was changed after it was signed"):
        Bundle.open(folder, trust=[public(key)])


def test_keys_change_without_a_gap(folder: Path, key: Path, tmp_path: Path) -> None:
    new = other_key(tmp_path)
    signed(folder, key)
    signed(folder, new)
    signed(folder, new)
    assert len((folder / SIGNATURES).read_text().splitlines()) == 2
    for trust in ([key], [new], [key, new]):
        Bundle.open(folder, trust=[public(each) for each in trust])


def test_a_bundle_that_is_changed_loses_its_signatures(folder: Path, key: Path) -> None:
    changed = write_graphs(signed(folder, key), {"head-embed": b"graph"})
    assert not (changed.path / SIGNATURES).exists()


@pytest.mark.parametrize("line", [b"0123 no base64!\n", b"\xff\xfe AAAA\n", b"0123 AAAA"])
def test_a_damaged_file_of_signatures_is_refused(folder: Path, key: Path, line: bytes) -> None:
    (folder / SIGNATURES).write_bytes(line)
    with pytest.raises(BundleError, match=r"manifest.sig, line 1|is not signed by"):
        Bundle.open(folder, trust=[public(key)])


def test_what_is_no_key_is_said(folder: Path, key: Path, tmp_path: Path) -> None:
    subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", tmp_path / "rsa"], check=True)
    command = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", tmp_path / "locked"]
    subprocess.run(command, check=True)
    for path, said in (("rsa", "no private Ed25519 key"), ("locked", "has a password"), ("none", "cannot be read")):
        with pytest.raises(ConfigError, match=said):
            sign(folder, bytes(32), tmp_path / path)
    for path in (key, tmp_path / "rsa"):
        with pytest.raises(ConfigError, match="no public Ed25519 key"):
            Bundle.open(folder, trust=[path])


def test_the_commands_make_and_sign(folder: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(main_group, ["make-key", str(tmp_path / "k")])
    done = runner.invoke(sign_command, [str(folder), "--key", str(tmp_path / "k")])
    assert (made.exit_code, done.exit_code) == (0, 0), made.output + done.output
    assert done.output.split()[-1] == made.output.split()[1].rstrip(":"), "both name the key"
    Bundle.open(folder, trust=[tmp_path / "k.pub"])
