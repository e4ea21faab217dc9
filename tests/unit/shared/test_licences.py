import io
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from shared.bundle import Bundle
from shared.bundle_writer import write_bundle
from shared.errors import BundleError, ConfigError
from shared.licences import LICENCE_FILE, Licence, as_metadata, as_text, read_licences, united
from tests.support.bundles import make_bundle

APACHE = "\n      Apache License\n   Version 2.0, January 2004\n  http://www.apache.org/licenses/\n"
MIT = "MIT License\n\nCopyright (c) Somebody: ä\n"
BOTH = (Licence("ResNet-18, from a package", MIT), Licence("EfficientNet", APACHE, "teacher"))
ARRAYS = {"a": np.zeros(3, np.float32)}


def test_a_weights_file_says_what_it_was_made_from() -> None:
    raw = save(ARRAYS, as_metadata(BOTH))
    assert read_licences(io.BytesIO(raw)) == BOTH
    assert save(ARRAYS, as_metadata(BOTH)) == raw
    assert read_licences(io.BytesIO(save(ARRAYS))) == ()
    assert as_metadata(()) is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"junk" * 10, b"\xff" * 20, save(ARRAYS, {"licences": "[1]"}), save(ARRAYS, {"licences": '[{"of": "x"}]'})],
)
def test_a_damaged_header_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigError, match=r"header|licence|source"):
        read_licences(io.BytesIO(raw))


def test_names_come_from_the_text() -> None:
    assert [licence.name for licence in BOTH] == ["MIT License", "Apache License, Version 2.0, January 2004"]


@pytest.mark.parametrize(("source", "text"), [("", MIT), ("ResNet", " \n")])
def test_neither_source_nor_text_is_empty(source: str, text: str) -> None:
    with pytest.raises(ConfigError, match="a source and a text"):
        Licence(source, text)


def test_each_stands_once() -> None:
    assert united(BOTH, BOTH[:1]) == BOTH


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt"):
        Licence.read(tmp_path / "none.txt", "ResNet")


def test_a_bundle_carries_them_in_both_halves(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    made = write_bundle(tmp_path / "made", plain.manifest, plain.weights("head"), plain.weights("tail"), BOTH)
    assert made.licences() == BOTH
    with (made.path / "tail.safetensors").open("rb") as tail:
        assert read_licences(tail) == BOTH
    named = made.manifest.provenance["licences"]
    assert [(entry["of"], entry["source"]) for entry in named] == [(one.of, one.source) for one in BOTH]
    text = (made.path / LICENCE_FILE).read_text()
    assert text == as_text(BOTH)
    assert "Version 2.0, January 2004" in text
    (made.path / LICENCE_FILE).unlink()
    assert Bundle.open(made.path).licences() == BOTH, "the file is a copy for people"


def test_a_bundle_that_owes_nothing_leaves_no_licence_of_the_one_it_replaces(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    halves = plain.weights("head"), plain.weights("tail")
    write_bundle(plain.path, plain.manifest, *halves, BOTH)
    again = write_bundle(plain.path, plain.manifest, *halves)
    assert again.licences() == ()
    assert not (plain.path / LICENCE_FILE).exists()
    assert "licences" not in again.manifest.provenance


def test_a_damaged_half_says_nothing(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    (plain.path / "head.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(BundleError, match="not the file its manifest names"):
        plain.licences()
