"""When certificates in PEM files run out, as a metric that is read from the files at each look.

Python's ssl tells the dates of a certificate only to those that it was shown to; the two lines of ASN.1 around them
are read here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
FORMS = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""By the tag of a date: UTCTime, GeneralizedTime."""
VERSION_TAG = 0xA0

EXPIRY = "neucodex_certificate_expiry_timestamp_seconds"


class CertificateExpiry(Collector):
    """When each certificate runs out, in seconds since 1970; a file that cannot be read has no value.

    Args:
        files: by the value of the label `of`: `certificate` is this side's own, `authority` what it trusts. None where
            there is none.
    """

    def __init__(self, files: Mapping[str, Path | None]) -> None:
        self._files = {of: file for of, file in files.items() if file is not None}

    def collect(self) -> Iterable[Metric]:
        """As the files are now."""
        family = GaugeMetricFamily(EXPIRY, "When a certificate runs out, in seconds since 1970.", labels=("of",))
        for of, file in self._files.items():
            try:
                dates = [not_after(ssl.PEM_cert_to_DER_cert(block)) for block in BLOCK.findall(file.read_text())]
            except (OSError, ValueError, IndexError):
                continue
            if dates:
                # Of our own the first counts, behind it are its authorities. Of trusted ones the last is enough.
                family.add_metric((of,), dates[0] if of == "certificate" else max(dates))
        return (family,)


def not_after(der: bytes) -> float:
    """The moment after which a certificate is not valid, in seconds since 1970.

    Raises:
        ValueError, IndexError: these bytes are no certificate.
    """
    (_, certificate), *_ = _parts(der)
    (_, signed), *_ = _parts(certificate)
    fields = [content for tag, content in _parts(signed) if tag != VERSION_TAG]
    validity = fields[3]  # after serial number, signature and issuer
    tag, text = list(_parts(validity))[1]
    return datetime.strptime(text.decode("ascii"), FORMS.get(tag, "")).replace(tzinfo=timezone.utc).timestamp()


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value that stands here, one after the other."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        yield tag, der[at : at + length]
        at += length
