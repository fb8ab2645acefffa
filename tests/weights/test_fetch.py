"""A published file comes whole and with the right checksum, or not at all, and the reason is one sentence."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from multibox.errors import ModelError
from multibox.weights import fetch as room
from multibox.weights.fetch import by_hand, cached, fetch

BODY = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """Answers on 127.0.0.1 by the last part of the address, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failures = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                getattr(outer, self.path.split("/")[1], outer.absent)(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{way}/net.pth"

    def good(self, to: BaseHTTPRequestHandler, length: int = len(BODY)) -> None:
        to.send_response(200)
        to.send_header("Content-Length", str(length))
        to.end_headers()
        to.wfile.write(BODY)

    def unmeasured(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.end_headers()
        to.wfile.write(BODY)

    def short(self, to: BaseHTTPRequestHandler) -> None:
        self.good(to, len(BODY) + 1)

    def late(self, to: BaseHTTPRequestHandler) -> None:
        if len(self.asked) < 3:
            to.send_error(503)
        else:
            self.good(to)

    def broken_once(self, to: BaseHTTPRequestHandler) -> None:
        self.good(to, len(BODY) + (len(self.asked) < 2))

    def silent(self, to: BaseHTTPRequestHandler) -> None:
        to.close_connection = True

    def moved(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(302)
        to.send_header("Location", self.url("good"))
        to.end_headers()

    def astray(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(302)
        to.send_header("Location", "file:///etc/hostname")
        to.end_headers()

    def round(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(302)
        to.send_header("Location", self.url("round"))
        to.end_headers()

    def page(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "text/html; charset=utf-8")
        to.end_headers()
        to.wfile.write(b"<html>sign in</html>")

    def absent(self, to: BaseHTTPRequestHandler) -> None:
        to.send_error(404)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("MULTIBOX_OFFLINE", raising=False)
    monkeypatch.setattr(room, "_WAITS", (0.0, 0.0))
    return tmp_path / "cache"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def refused(url: str, words: str, sha256: str | None = None) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        fetch(url, sha256)
    assert "\n" not in str(caught.value)
    assert not [name for name in files(room.cache_folder()) if name.endswith(".part")]


@pytest.mark.parametrize("way", ["good", "unmeasured", "moved", "late", "broken_once"])
@pytest.mark.parametrize("sha256", [None, SHA256, SHA256[:8], SHA256[:12].upper()])
def test_a_file_comes_whole_and_is_asked_for_only_once(
    server: Server, cache: Path, way: str, sha256: str | None
) -> None:
    path = fetch(server.url(way), sha256)
    assert path.read_bytes() == BODY and path == cached(server.url(way)) and path.is_relative_to(cache)
    asked = len(server.asked)
    assert fetch(server.url(way), sha256) == path
    assert len(server.asked) == asked
    assert files(cache) == ["net.pth"]


def test_two_addresses_of_one_name_are_two_files(server: Server) -> None:
    assert cached(server.url("a")) != cached(server.url("b")) != cached(server.url("b") + "?v=2")
    assert cached(server.url("a") + "?download=1").name == "net.pth"
    assert cached("https://example.com").name == "file"
    assert cached("https://example.com/a%2F..%2F..%2Fb.pth").name == "b.pth"


@pytest.mark.parametrize(
    ("way", "words", "asked"),
    [
        ("short", r"the connection broke after 1,048,576 of 1,048,577 bytes; try again later", 3),
        ("silent", "the connection failed", 3),
        ("absent", "the server answers 404 Not Found", 1),
        ("astray", "the server answers 302", 1),
        ("round", "the server answers 302", 5),
        ("page", "gives a web page, not a file", 1),
    ],
)
def test_what_does_not_come_is_one_sentence_and_leaves_nothing(
    server: Server, cache: Path, way: str, words: str, asked: int
) -> None:
    refused(server.url(way), words)
    assert len(server.asked) == asked
    assert files(cache) == []


def test_a_server_that_is_not_there_is_one_sentence(server: Server) -> None:
    url = server.url("good")
    server.server.shutdown()
    server.server.server_close()
    refused(url, "the connection failed .*refused")


def test_another_file_than_the_published_one_is_not_kept(server: Server, cache: Path) -> None:
    refused(server.url("good"), f"its SHA-256 begins {SHA256[:16]}, not 0123abcd", "0123abcd")
    assert files(cache) == []


@pytest.mark.parametrize("sha256", ["abc", "not hexadecimal", SHA256 + "0"])
def test_a_checksum_that_is_none_is_named(server: Server, sha256: str) -> None:
    refused(server.url("good"), "is not 8 to 64 hexadecimal digits", sha256)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.com/x.pth", "net.pth"])
def test_other_addresses_are_not_followed(url: str) -> None:
    refused(url, "only http and https")


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server) -> None:
    path = fetch(server.url("good"), SHA256)
    path.write_bytes(BODY[:100])
    assert fetch(server.url("good"), SHA256).read_bytes() == BODY
    assert len(server.asked) == 2


def test_offline_takes_the_cache_or_says_where_to_put_the_file(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("good")
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    refused(url, f"{url} is not in the cache and MULTIBOX_OFFLINE is set; unset it, or put the file at {by_hand(url)}")
    assert by_hand(url) == cache / "net.pth"
    for place in (by_hand(url), cached(url)):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(BODY)
        assert fetch(url, SHA256) == fetch(url) == place
    assert server.asked == []
    cached(url).unlink()
    by_hand(url).write_bytes(b"another of that name")
    refused(url, "put the file at", SHA256)
    by_hand(url).unlink()
    monkeypatch.setenv("MULTIBOX_OFFLINE", "0")
    assert fetch(server.url("moved")).read_bytes() == BODY


def test_a_file_of_torch_hub_is_used_where_its_checksum_fits(server: Server, tmp_path: Path) -> None:
    theirs = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(BODY)
    assert fetch(server.url("good"), SHA256[:8]) == theirs
    assert server.asked == []
    theirs.write_bytes(b"another of that name")
    assert fetch(server.url("good"), SHA256[:8]) == cached(server.url("good"))
    theirs.write_bytes(BODY)
    assert fetch(server.url("moved")) == cached(server.url("moved"))


def failing(action: Callable[[], BaseException]) -> Callable[..., object]:
    """In place of `Path.open`: a file of which a part is written before the failure."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *rest: object) -> object:
        file = real(path, mode, *rest)
        if "w" in mode:
            write = file.write

            class Full:
                def __enter__(self) -> Full:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def write(self, piece: bytes) -> None:
                    write(piece[:100])
                    raise action()

            return Full()
        return file

    return opened


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(Path, "open", failing(lambda: OSError(code, "full")))
    refused(server.url("good"), "no space left for .*MULTIBOX_CACHE")
    assert files(cache) == [] and len(server.asked) == 1


def test_an_interruption_leaves_nothing(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", failing(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url("good"))
    assert files(cache) == []


def test_a_cache_that_cannot_be_made_is_one_sentence(server: Server, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "file"))
    refused(server.url("good"), "cannot be written .*MULTIBOX_CACHE")


def test_two_processes_at_once_both_get_the_file(server: Server, cache: Path) -> None:
    code = f"from multibox.weights.fetch import fetch; print(fetch({server.url('good')!r}, {SHA256!r}))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in running]
    assert said == [str(cached(server.url("good")))] * 2
    assert files(cache) == ["net.pth"] and Path(said[0]).read_bytes() == BODY


def test_the_log_says_size_rate_time_left_and_what_came(server: Server, monkeypatch, caplog) -> None:
    monkeypatch.setattr(room, "_OFTEN", 0.0)
    with caplog.at_level(logging.INFO, logger="multibox"):
        path = fetch(server.url("good"))
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"downloading {server.url('good')} (1.0 MB)"
    assert said[-1] == f"saved as {path} (SHA-256 {SHA256}; none is published)"
    assert len(said) > 3 and all(" MB/s  0:0" in line and line.endswith(" left") for line in said[1:-1])


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULTIBOX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert room.cache_folder() == tmp_path / "multibox"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert room.cache_folder() == tmp_path / ".cache" / "multibox"


def test_fetching_needs_no_torch() -> None:
    code = "import sys, multibox.weights.fetch; print({'torch', 'numpy', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
