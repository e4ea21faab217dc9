"""The pair behind TLS, certificates and tokens: who is let in, who is not, and files that are renewed while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trustme
from PIL import Image

from edge_client.input_config import InputConfig
from edge_client.link.security import LinkSecurity
from shared.bundle import Bundle
from tests.support.certificates import authority_file, issue
from tests.support.edges import EdgeRun, edge_here
from tests.support.processes import CloudProcess, cloud_process

TOKEN, OTHER = "the-token-that-is-known", "the-token-that-comes-later"


@dataclass(frozen=True)
class Guarded:
    """A cloud with TLS, mutual, and tokens; and what its edges need."""

    cloud: CloudProcess
    folder: Path
    authority: trustme.CA

    @property
    def security(self) -> LinkSecurity:
        names = [self.folder / name for name in ("ca.pem", "edge.pem", "edge.key")]
        return LinkSecurity(*names, token_file=self.folder / "tokens")


@pytest.fixture(scope="module")
def guarded(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = trustme.CA()
    authority_file(authority, folder / "ca.pem")
    certificate, key = issue(authority, folder, "cloud", "127.0.0.1")
    issue(authority, folder, "edge", "edge.invalid")
    for name in ("tokens", "known"):
        (folder / name).write_text(f"{TOKEN}\n")
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(folder / "ca.pem")]
    with cloud_process(folder / "cloud", [bundle.path], *tls, "--token-file", str(folder / "known")) as cloud:
        yield Guarded(cloud, folder, authority)


@pytest.fixture(scope="module")
def picture(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "one.png"
    _, height, width = bundle.manifest.network.input_shape
    Image.fromarray(np.arange(height * width, dtype=np.uint8).reshape(height, width)).save(path)
    return path


async def classify(bundle: Bundle, guarded: Guarded, picture: Path, security: LinkSecurity) -> EdgeRun:
    inputs = InputConfig((str(picture),))
    return await edge_here(bundle, guarded.cloud.listen, inputs, security=security, connect_deadline_s=2.0)


async def test_who_has_everything_is_served(bundle: Bundle, guarded: Guarded, picture: Path) -> None:
    done = await classify(bundle, guarded, picture, guarded.security)
    assert done.code == 0, done.err


async def test_without_the_token_it_is_refused(bundle: Bundle, guarded: Guarded, picture: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("a-token-that-nobody-knows\n")
    have = guarded.security
    for token_file in (None, wrong):
        security = LinkSecurity(have.ca, have.certificate, have.key, token_file=token_file)
        with pytest.raises(Exception, match="--token-file"):
            await classify(bundle, guarded, picture, security)
    assert guarded.cloud.metric("neucodex_cloud_refused_streams_total", reason="unauthenticated") >= 2


@pytest.mark.parametrize("lacking", ["certificate", "trust", "name", "tls"])
async def test_without_a_good_handshake_nothing_is_said(
    lacking: str, bundle: Bundle, guarded: Guarded, picture: Path, tmp_path: Path
) -> None:
    have = guarded.security
    stranger = trustme.CA()
    certificate, key = issue(stranger, tmp_path, "stranger", "edge.invalid")
    security = {
        "certificate": LinkSecurity(have.ca, certificate, key, token_file=have.token_file),
        "trust": LinkSecurity(authority_file(stranger, tmp_path / "ca.pem"), have.certificate, have.key),
        "name": LinkSecurity(have.ca, have.certificate, have.key, "other.invalid"),
        "tls": LinkSecurity(insecure=True),
    }[lacking]
    before = guarded.cloud.metric("neucodex_cloud_frames_total")
    with pytest.raises(Exception, match=r"no cloud at .* TLS on both sides"):
        await classify(bundle, guarded, picture, security)
    assert guarded.cloud.metric("neucodex_cloud_frames_total") == before


async def test_certificate_and_token_are_renewed_while_it_runs(bundle: Bundle, guarded: Guarded, picture: Path) -> None:
    for role, name in (("cloud", "127.0.0.1"), ("edge", "edge.invalid")):
        for new in issue(guarded.authority, guarded.folder / "new", role, name):
            new.replace(guarded.folder / new.name)
    new = guarded.folder / "new" / "tokens"
    for name in ("known", "tokens"):
        new.write_text(f"{OTHER}\n")
        new.replace(guarded.folder / name)
    done = await classify(bundle, guarded, picture, guarded.security)
    assert done.code == 0, done.err
    log = guarded.cloud.log.read_text()
    assert "the new certificate" in log
    assert "1 tokens" in log
