"""An RTSP server for the tests: one viewer, H.264 in RTP inside the TCP connection, as network cameras deliver it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from fractions import Fraction

import av

from bright import picture

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)


class RtspCamera:
    """Answers OPTIONS, DESCRIBE, SETUP and PLAY, then sends `frames` frames and hangs up, as a context."""

    def __init__(self, frames: int, fps: int = 25) -> None:
        self._frames, self._fps = frames, fps
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://admin:secret@127.0.0.1:{self._listener.getsockname()[1]}/live"
        self.asked: list[str] = []

    def __enter__(self) -> RtspCamera:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                viewer, _ = self._listener.accept()
                with viewer, contextlib.suppress(OSError):
                    self._talk(viewer)

    def _talk(self, viewer: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = viewer.recv(4096)
                if not data:
                    return
                buffer += data
            request, _, buffer = buffer.partition(b"\r\n\r\n")
            verb = request.split(b" ", 1)[0].decode()
            self.asked.append(verb)
            number = re.search(rb"CSeq: (\d+)", request)[1].decode()
            more, body = "", ""
            if verb == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif verb == "DESCRIBE":
                more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n", SDP
            elif verb == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif verb == "PLAY":
                more = "Session: 1\r\n"
            viewer.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}\r\n{body}".encode())
            if verb == "PLAY":
                self._send(viewer)
                return

    def _send(self, viewer: socket.socket) -> None:
        """PyAV makes RTP packets for a UDP port of our own; they go on over TCP behind a `$`, channel and length."""
        port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port.bind(("127.0.0.1", 0))
        port.settimeout(0.02)
        with port, av.open(f"rtp://127.0.0.1:{port.getsockname()[1]}", "w", format="rtp") as out:
            stream = out.add_stream("libx264", rate=self._fps, options={"tune": "zerolatency", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            stream.codec_context.time_base = Fraction(1, self._fps)
            for number in range(self._frames):
                x = 2 * (number % 100)
                image = picture(320, 240, red=(x, 40, x + 80, 140, 255))
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    out.mux(packet)
                with contextlib.suppress(TimeoutError):
                    while True:
                        data = port.recv(65536)
                        viewer.sendall(b"$\0" + len(data).to_bytes(2) + data)
                time.sleep(1 / self._fps - 0.02)
