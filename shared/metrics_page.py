"""The HTTP server of a metrics page. It answers a bounded number of connections, each for a bounded time.

`/metrics` is the page, `/healthz` says that the process answers. TLS and HTTP's basic authentication are optional.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from shared.errors import ConfigError
from shared.security import check_authority, check_pair, read_secret, warn_if_others_can_read

CONNECTIONS = 16
"""Connections that are answered at once, each by a thread. For one more the one that is oldest has to end."""
LONGEST_S = 10.0
"""Seconds after which a connection ends, even in the middle of a request."""
LEAST_PASSWORD = 12
"""Characters."""

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class PageSecurity:
    """How the page is protected.

    Attributes:
        certificate, key: PEM files, for TLS; None for none.
        client_ca: PEM file with the authorities whose certificates a reader must show.
        users: file with NAME:PASSWORD, one a line; None lets everybody read.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    users: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--metrics-tls-cert and --metrics-tls-key belong together: name both")
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError("--metrics-tls-client-ca needs TLS: name --metrics-tls-cert and --metrics-tls-key too")

    def context(self) -> ssl.SSLContext | None:
        """For TLS; None without. Raises `ConfigError` for a file that cannot be used."""
        if self.certificate is None or self.key is None:
            return None
        check_pair(self.certificate, self.key, "--metrics-tls-cert, --metrics-tls-key")
        warn_if_others_can_read(self.key, "--metrics-tls-key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca is not None:
            check_authority(self.client_ca, "--metrics-tls-client-ca")
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def credentials(self) -> list[bytes] | None:
        """The values of `Authorization` that let a reader in; None for everybody. Raises `ConfigError`."""
        if self.users is None:
            return None
        warn_if_others_can_read(self.users, "--metrics-users")
        lines = [line.strip() for line in read_secret(self.users, "--metrics-users").splitlines()]
        users = [line for line in lines if line and not line.startswith(b"#")]
        for number, user in enumerate(users, 1):
            name, separator, password = user.partition(b":")
            if not name or not separator or len(password) < LEAST_PASSWORD:
                raise ConfigError(
                    f"--metrics-users {self.users}: user {number} must be NAME:PASSWORD with {LEAST_PASSWORD} or more "
                    "characters after the colon"
                )
        if not users:
            raise ConfigError(f"--metrics-users {self.users}: there is no user in it; write NAME:PASSWORD, one a line")
        return [b"Basic " + base64.b64encode(user) for user in users]


OPEN_PAGE = PageSecurity()


def serve_page(registry: CollectorRegistry, host: str, port: int, security: PageSecurity = OPEN_PAGE) -> int:
    """Serve a registry at http://host:port/metrics, or https, from daemon threads; port 0 takes a free port.

    Returns:
        The port.

    Raises:
        ConfigError: the port is taken, the host is not an address of this machine, or a file cannot be used.
    """
    app = _routes(make_wsgi_app(registry), security.credentials())
    tls = security.context()
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        server = _BoundedServer(family, (str(address[0]), int(address[1])), tls)
    except OSError as error:
        raise ConfigError(
            f"cannot serve metrics on {host}:{port} ({error.strerror}); choose another address with --metrics"
        ) from None
    server.set_app(app)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)


def _routes(page: App, credentials: list[bytes] | None) -> App:
    """The application: what is answered at which path, to whom."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def say(status: str, *headers: tuple[str, str]) -> Iterable[bytes]:
            start_response(status, [("Content-Type", "text/plain"), *headers])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [f"{status}\n".encode()]

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return say("405 Method Not Allowed", ("Allow", "GET, HEAD"))
        if environ["PATH_INFO"] == "/healthz":
            return say("200 OK")
        if environ["PATH_INFO"] != "/metrics":
            return say("404 Not Found")
        if credentials is not None and not _admits(credentials, environ.get("HTTP_AUTHORIZATION", "")):
            return say("401 Unauthorized", ("WWW-Authenticate", 'Basic realm="metrics"'))
        found = page({**environ, "REQUEST_METHOD": "GET"}, start_response)  # it knows no HEAD
        return [] if environ["REQUEST_METHOD"] == "HEAD" else found

    return app


def _admits(credentials: list[bytes], sent: str) -> bool:
    """Whether these are known. Compares with all of them, each in constant time."""
    matches = [hmac.compare_digest(sent.encode("utf-8", "replace"), known) for known in credentials]
    return any(matches)


class _Handler(WSGIRequestHandler):
    """One connection: TLS, one request, one answer. It logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _BoundedServer(WSGIServer):
    """A thread for each connection, of which there are at most `CONNECTIONS`."""

    request_queue_size = 64

    def __init__(self, family: int, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = family
        self._tls = tls
        self._open: OrderedDict[socket.socket, None] = OrderedDict()
        """From the oldest to the newest."""
        self._lock = threading.Lock()
        self._places = threading.Semaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own. The oldest gives way if there are too many."""
        while not self._places.acquire(blocking=False):
            with self._lock:
                oldest = next(iter(self._open), None)
                if oldest is not None:
                    del self._open[oldest]
                    _hang_up(oldest)
            if self._places.acquire(timeout=0.2):
                break
        with self._lock:
            self._open[request] = None
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up, or that speaks no HTTP or TLS, is no error of ours."""

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        timer = threading.Timer(LONGEST_S, _hang_up, (request,))
        timer.daemon = True
        timer.start()
        try:
            connection = request if self._tls is None else self._tls.wrap_socket(request.dup(), server_side=True)
            try:
                self.finish_request(connection, client_address)
            finally:
                if connection is not request:
                    connection.close()
        except OSError:
            pass  # the peer is gone, or was made to go
        finally:
            timer.cancel()
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)
            self._places.release()


def _hang_up(connection: socket.socket) -> None:
    """End a connection that another thread reads or writes; that one then fails."""
    with contextlib.suppress(OSError):  # it may have ended already
        connection.shutdown(socket.SHUT_RDWR)
