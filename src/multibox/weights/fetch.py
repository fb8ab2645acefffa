"""Published files -> a cache on this machine, whole and with the right checksum. Imports nothing heavy, not even torch.

The environment says where and whether: `MULTIBOX_CACHE` names the folder, `MULTIBOX_OFFLINE=1` forbids the network.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import re
import secrets
import ssl
import time
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from multibox.errors import ModelError
from multibox.weights.cache import CACHE, cache_folder, user_caches

log = logging.getLogger(__name__)

OFFLINE = "MULTIBOX_OFFLINE"
"""Names of the environment variables."""

_WAITS = (1.0, 3.0)
"""Seconds before the second and the third try of a broken connection."""
_TIMEOUT = 30.0
"""Seconds in which a server has to send something."""
_PIECE = 1 << 18
_OFTEN, _RARELY = 1.0, 10.0
"""Seconds between two lines about a download."""
_PASSING = (408, 429)
"""Answers below 500 that may be others a moment later."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_CHECKSUM = re.compile(r"[0-9a-fA-F]{8,64}")


def fetch(url: str, sha256: str | None = None) -> Path:
    """The file at `url`, downloaded unless the cache has it; `sha256` is its digest or the first digits, 8 or more.

    A download is written beside its place and renamed when it is whole and its checksum fits, so no half file is ever
    found, and processes do not disturb each other. Raises `ModelError`, one sentence, for whatever goes wrong.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ModelError(f"{url}: only http and https addresses are downloaded")
    if sha256 is not None and not _CHECKSUM.fullmatch(sha256):
        raise ModelError(f"{url}: its checksum '{sha256}' is not 8 to 64 hexadecimal digits")
    place, given = cached(url), by_hand(url)
    for known in (place, given, _hub_folder() / place.name) if sha256 else (place, given):
        if known.is_file() and _fits(_digest(known), sha256):
            return known
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise ModelError(f"{url} is not in the cache and {OFFLINE} is set; unset it, or put the file at {given}")
    with _space_for(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        digest = _download(url, draft)
        if not _fits(digest, sha256):
            raise ModelError(f"{url}: its SHA-256 begins {digest[:16]}, not {sha256}; it is not the published file")
        with _space_for(place):
            draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    log.info("saved as %s (SHA-256 %s%s)", place, digest, "" if sha256 else "; none is published")
    return place


def cached(url: str) -> Path:
    """Where the file of this address lies once it is downloaded, apart from those of other addresses."""
    return cache_folder() / "weights" / hashlib.sha256(url.encode()).hexdigest()[:16] / by_hand(url).name


def by_hand(url: str) -> Path:
    """Where a person may put the file of this address: its name, in the cache itself."""
    return cache_folder() / (Path(unquote(urlsplit(url).path)).name or "file")


def _hub_folder() -> Path:
    """Where torch.hub keeps checkpoints under the last part of their address."""
    return Path(os.environ.get("TORCH_HOME") or user_caches() / "torch").expanduser() / "hub" / "checkpoints"


def _fits(digest: str, sha256: str | None) -> bool:
    """Whether a file's digest is the known one, as far as that is known."""
    return digest.startswith((sha256 or "").lower())


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def _space_for(place: Path) -> Iterator[None]:
    """What fails inside is this machine's disk; it becomes one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ModelError(f"no space left for {place}; free some, or name another folder in {CACHE}") from None
        why = error.strerror or error
        raise ModelError(f"{place} cannot be written ({why}); name a folder of yours in {CACHE}") from None


class _Broken(Exception):
    """A failure that may be gone at the next try, in words."""


def _download(url: str, draft: Path) -> str:
    """Writes the file at `url` to `draft` and gives its SHA-256; a broken connection is tried again, a refusal not."""
    for wait in (*_WAITS, None):
        digest = hashlib.sha256()
        try:
            with _space_for(draft), draft.open("wb") as file, closing(_pieces(url)) as pieces:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            break
        except _Broken as broken:
            if wait is None:
                raise ModelError(f"{url}: {broken}; try again later, or put the file at {by_hand(url)}") from None
            log.warning("%s: %s; trying again", url, broken)
            time.sleep(wait)
    return digest.hexdigest()


def _pieces(url: str) -> Generator[bytes, None, None]:
    """The body, piece by piece. Raises `_Broken`, or `ModelError` where another try is of no use."""
    request = urllib.request.Request(url, headers={"User-Agent": "multibox"})
    with _network(url), _opener().open(request, timeout=_TIMEOUT) as response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise ModelError(f"{url}: leads away from https, to {response.url}")
        if response.headers.get_content_type() == "text/html":
            raise ModelError(f"{url}: gives a web page, not a file")
        length = response.headers.get("Content-Length")
        meter = _Meter(url, int(length) if length else None)
        while piece := response.read(_PIECE):
            meter.add(len(piece))
            yield piece
        meter.end()


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https, through the proxies of the environment, and nothing else wherever it is led."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _network(url: str) -> Iterator[None]:
    """What fails inside is the network or the server, said in words."""
    try:
        yield
    except HTTPError as error:
        error.close()
        words = " ".join(f"the server answers {error.code} {error.reason}".split())
        if error.code in _PASSING or error.code >= 500:
            raise _Broken(words) from None
        raise ModelError(f"{url}: {words}") from None
    except (OSError, http.client.HTTPException) as error:
        why = error.reason if isinstance(error, URLError) else error
        if isinstance(why, ssl.SSLCertVerificationError | http.client.InvalidURL):
            raise ModelError(f"{url}: cannot be opened ({why})") from None
        words = getattr(why, "strerror", None) or str(why) or type(why).__name__
        raise _Broken(f"the connection failed ({words})") from None


class _Meter:
    """Says how far a download is: at every tenth, but not more often than every second, and every ten seconds."""

    def __init__(self, url: str, total: int | None) -> None:
        self._total, self._done, self._said = total, 0, 0
        self._start = self._last = time.monotonic()
        log.info("downloading %s%s", url, f" ({total / 1e6:.1f} MB)" if total else "")

    def add(self, count: int) -> None:
        """So many more bytes came."""
        self._done += count
        now = time.monotonic()
        tenth = self._total is not None and (self._done - self._said) * 10 >= self._total
        if now - self._last >= (_OFTEN if tenth else _RARELY):
            self._last, self._said = now, self._done
            log.info("%s", self._line(now - self._start), extra={"live": True})

    def end(self) -> None:
        """No more will come. Raises `_Broken` where that was not all."""
        if self._total is not None and self._done != self._total:
            raise _Broken(f"the connection broke after {self._done:,} of {self._total:,} bytes")

    def _line(self, seconds: float) -> str:
        """`31.2/98.0 MB  5.1 MB/s  0:13 left`."""
        rate = self._done / seconds
        if self._total is None:
            return f"{self._done / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s"
        left = round((self._total - self._done) / rate)
        shown = f"{self._done / 1e6:.1f}/{self._total / 1e6:.1f} MB"
        return f"{shown}  {rate / 1e6:.1f} MB/s  {left // 60}:{left % 60:02d} left"
