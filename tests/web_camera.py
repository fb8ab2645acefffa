"""A network camera for the tests: MJPEG over HTTP on this machine, which can stall, die and come back as told."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from PIL import Image

from bright import picture


class Visit(NamedTuple):
    """What one connection gets: so many `frames`, one every `every` seconds, then the end, or `then` a silence."""

    frames: int
    every: float = 0.02
    then: float = 0.0
    status: int = 200


def jpeg(number: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """A frame whose red area begins at 2 x its number (modulo 100)."""
    x = 2 * (number % 100)
    buffer = io.BytesIO()
    Image.fromarray(picture(*size, red=(x, 40, x + 80, 140, 255))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class WebCamera:
    """Serves its visits one after the other, the last one again and again, as a context; `address` is its stream."""

    def __init__(self, *visits: Visit, size: tuple[int, int] = (320, 240)) -> None:
        self.visits, self.size = list(visits), size
        self.connections: list[float] = []
        self.sent = 0
        self.on_frame: dict[int, Callable[[], object]] = {}
        """Called once that many frames were sent."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/live.mjpg"

    def __enter__(self) -> WebCamera:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                if self.path.endswith("/still"):
                    self._answer(200, "image/jpeg")
                    self.wfile.write(jpeg(0))
                    return
                visit = camera.visits[min(len(camera.connections), len(camera.visits) - 1)]
                camera.connections.append(time.monotonic())
                if visit.status != 200:
                    self.send_error(visit.status)
                    return
                self._answer(200, "multipart/x-mixed-replace; boundary=frame")
                try:
                    for _ in range(visit.frames):
                        data = jpeg(camera.sent, camera.size)
                        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                        self.wfile.write(head + data + b"\r\n")
                        camera.sent += 1
                        time.sleep(visit.every)
                        camera.on_frame.get(camera.sent, bool)()
                    time.sleep(visit.then)
                except OSError:  # the viewer has gone
                    pass

            def _answer(self, status: int, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()

        return Handler
