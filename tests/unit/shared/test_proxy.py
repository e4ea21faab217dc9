"""Which proxy is on the way to a machine, as the environment says."""

from __future__ import annotations

import pytest

from shared.proxy import Proxy, proxy_to

SET = {"http_proxy": "http://somebody:secret@proxy.example:3128"}
FOUND = Proxy("http_proxy", "proxy.example:3128")


@pytest.mark.parametrize(
    ("hosts", "environment", "found"),
    [
        (("cloud.example", "192.0.2.1"), {}, None),
        (("cloud.example", "192.0.2.1"), SET, FOUND),
        (("cloud.example", "192.0.2.1"), {**SET, "grpc_proxy": "http://other:1"}, Proxy("grpc_proxy", "other:1")),
        (("localhost",), SET, None),
        (("here.example", "127.0.0.2"), SET, None),
        (("::1",), SET, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "other.example"}, FOUND),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "other.example, cloud.example"}, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": ".example"}, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "192.0.2.1"}, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "192.0.2.0/24"}, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "198.51.100.0/24"}, FOUND),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "*"}, None),
        (("cloud.example", "192.0.2.1"), {**SET, "no_proxy": "*", "no_grpc_proxy": "other.example"}, FOUND),
    ],
)
def test_a_proxy(hosts: tuple[str, ...], environment: dict[str, str], found: Proxy | None) -> None:
    assert proxy_to(*hosts, environment=environment) == found
