"""The metrics page: paths, methods, passwords, TLS, and connections that never end by themselves."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from shared.errors import ConfigError
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics
from shared.metrics_page import CONNECTIONS, OPEN_PAGE, PageSecurity
from tests.support.certificates import authority_file, issue

SERIES = b"neucodex_cloud_streams 7.0"


def serve(security: PageSecurity = OPEN_PAGE, host: str = "127.0.0.1") -> int:
    metrics = Metrics(CLOUD_METRICS)
    metrics.set("neucodex_cloud_streams", 7)
    return metrics.serve(host, 0, security)


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/other", 404),
        ("POST", "/metrics", 405),
    ],
)
def test_what_is_answered(method: str, path: str, status: int) -> None:
    port = serve()
    found, body = ask(port, path, method)
    assert found == status
    assert (SERIES in body) == (method == "GET" and path == "/metrics")
    assert method != "HEAD" or not body


def test_an_ipv6_address_is_served() -> None:
    try:
        port = serve(host="::1")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    assert ask(port, "/healthz", host="::1")[0] == 200


def test_only_known_users_read_the_metrics(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("# readers\nprometheus:a-long-password\nother:another-password\n")
    port = serve(PageSecurity(users=users))
    assert ask(port, "/healthz")[0] == 200, "a probe needs no password"
    assert ask(port, "/metrics")[0] == 401
    for name, status in (("prometheus:a-long-password", 200), ("prometheus:another-password", 401)):
        sent = base64.b64encode(name.encode()).decode()
        assert ask(port, "/metrics", Authorization=f"Basic {sent}")[0] == status


@pytest.mark.parametrize("content", ["", "prometheus\n", "prometheus:short\n", ":a-long-password\n"])
def test_users_that_cannot_be_used_are_said(tmp_path: Path, content: str) -> None:
    users = tmp_path / "users"
    users.write_text(content)
    with pytest.raises(ConfigError, match="--metrics-users"):
        serve(PageSecurity(users=users))


def test_with_tls_a_reader_shows_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority_file(authority, tmp_path / "ca.pem")
    certificate, key = issue(authority, tmp_path, "cloud", "127.0.0.1")
    own, its_key = issue(authority, tmp_path, "reader", "reader.invalid")
    port = serve(PageSecurity(certificate, key, tmp_path / "ca.pem"))
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    def read() -> bytes:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        connection.request("GET", "/metrics")
        return connection.getresponse().read()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        read()
    context.load_cert_chain(own, its_key)
    assert SERIES in read()


@pytest.mark.parametrize("settings", [{"certificate": Path("a")}, {"client_ca": Path("a")}])
def test_flags_that_do_not_go_together(settings: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="--metrics-tls"):
        PageSecurity(**settings)


def test_half_requests_hold_a_bounded_number_of_threads_and_nobody_up() -> None:
    port = serve()
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(10 * CONNECTIONS):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert ask(port, "/metrics")[0] == 200
        # The thread of a connection, and the timer that ends it.
        assert threading.active_count() <= before + 2 * CONNECTIONS + 2
