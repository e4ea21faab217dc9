"""A network camera on loopback: an HTTP server that streams MJPEG, and does what a test asks of its streams."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from PIL import Image

Stream = Callable[["Viewer"], None]


class Viewer:
    """One client's stream. Frame n has the colour (n, n, n)."""

    def __init__(self, handler: BaseHTTPRequestHandler, stopped: threading.Event) -> None:
        self._out = handler.wfile
        self._stopped = stopped

    def frame(self, number: int) -> None:
        """Send a frame."""
        jpeg = BytesIO()
        Image.new("RGB", (64, 48), (number, number, number)).save(jpeg, "JPEG", quality=95)
        raw = jpeg.getvalue()
        self._out.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(raw))
        self._out.write(raw + b"\r\n")
        self._out.flush()

    def frames(self, numbers: Iterator[int] | range, every_s: float = 0.02) -> None:
        """Send these frames, at this pace."""
        for number in numbers:
            if self._stopped.wait(every_s):
                return
            self.frame(number)

    def hang(self) -> None:
        """Send nothing more, and keep the connection."""
        self._stopped.wait()


class NetworkCamera:
    """Serves the streams in their order, one to each client that comes; then 404. `port` is where."""

    def __init__(self, *streams: Stream, port: int = 0) -> None:
        self.opened = 0
        coming, stopped = iter(streams), threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stream = next(coming, None)
                if stream is None:
                    self.send_error(404)
                    return
                camera.opened += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has gone
                    stream(Viewer(self, stopped))

            def log_message(self, *_: object) -> None:
                return

        self._stopped = stopped
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/video.mjpg"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all streams."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def network_camera(*streams: Stream, port: int = 0) -> Iterator[NetworkCamera]:
    """One that is closed at the end."""
    camera = NetworkCamera(*streams, port=port)
    try:
        yield camera
    finally:
        camera.close()
