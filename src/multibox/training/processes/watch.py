"""A process that dies takes the others of its run with it, within seconds, and the cause is said.

Every rank keeps a connection to rank 0 open. The system closes it when a process ends, however it ends, and its
keep-alive notices a machine that is gone: no thread of ours has to answer in time while the network computes.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

from multibox.errors import MultiboxError
from multibox.training.processes.launched import Processes

_LOOPBACK = ("127.0.0.1", "localhost")
_CONNECT = 60.0
_GRACE = 10.0
"""Seconds that this process has to end by itself once another is lost: it may wait for the lost one for ever."""
_VERDICT = 10.0
"""Seconds in which the cause of a broken connection becomes known."""


class RankLost(MultiboxError):
    """Another process of this run ended before its time."""

    def __init__(self, sentence: str, *, said: bool = False) -> None:
        super().__init__(sentence)
        self.said = said


class Watch:
    """While the context lasts, this process ends with the others, by `RankLost` or, where it hangs, at once."""

    def __init__(self, processes: Processes, from_main: Callable[[Any], Any]) -> None:
        """`from_main` gives every rank what rank 0 has."""
        self._processes = processes
        self._verdict: RankLost | None = None
        self._lost, self._left = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._peers = _accept(processes, from_main) if processes.rank == 0 else _connect(processes, from_main)
        for peer in self._peers:
            threading.Thread(target=self._listen, args=(peer,), name="multibox-watch", daemon=True).start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Tells the others how this process ended. Raises `RankLost` where it only failed because another did."""
        if isinstance(error, RuntimeError):  # so torch says that a connection broke
            self._lost.wait(_VERDICT)
        self._left.set()
        if error is not None and self._verdict is not None:
            raise self._verdict from error
        text = " ".join(str(error).split()) or type(error).__name__
        for peer in self._peers:
            peer.send("done" if error is None else "failed", text)
            peer.close()

    def _listen(self, peer: _Peer) -> None:
        """Reads what the peer says until it ends."""
        for kind, text in peer.messages():
            if kind == "done":
                return
            if kind == "failed":
                return self._end(RankLost(f"rank {peer.rank} of {self._processes.world}: {text}", said=peer.rank == 0))
            if kind == "lost":
                return self._end(RankLost(text, said=True))
        self._end(
            RankLost(
                f"rank {peer.rank} of {self._processes.world} ({peer.place}) ended without a word: it was killed, ran "
                "out of memory, or its machine is gone; --resume goes on after the last checkpoint"
            )
        )

    def _end(self, verdict: RankLost) -> None:
        """Ends this process because another has ended, after telling the rest."""
        with self._lock:
            if self._left.is_set() or self._verdict is not None:
                return
            self._verdict = verdict
        if self._processes.rank == 0:
            for peer in self._peers:
                peer.send("lost", str(verdict))
        self._lost.set()
        if not self._left.wait(_GRACE):
            if not verdict.said:
                sys.stderr.write(f"error: {verdict}\n")
                sys.stderr.flush()
            os._exit(verdict.exit_code)


class _Peer:
    """The connection to another rank: lines of JSON, (kind, text)."""

    def __init__(self, connection: socket.socket) -> None:
        self.rank, self.place = 0, ""
        self._socket = connection
        self._file = connection.makefile("r", encoding="utf-8")
        _keep_alive(connection)

    def send(self, kind: str, text: str) -> None:
        """A peer that is gone is no news here."""
        with suppress(OSError):
            self._socket.sendall(json.dumps([kind, text]).encode() + b"\n")

    def messages(self) -> Iterator[tuple[str, str]]:
        """What it says, until the connection ends."""
        with suppress(OSError, ValueError):
            for line in self._file:
                kind, text = json.loads(line)
                yield kind, text

    def close(self) -> None:
        """Ends the connection and whoever listens to it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _accept(processes: Processes, from_main: Callable[[Any], Any]) -> list[_Peer]:
    """Rank 0: connections from all others, who show a word that only the group knows."""
    with _server(processes) as server:
        word = secrets.token_hex(16)
        from_main((server.getsockname()[1], word, _here()))
        server.settimeout(_CONNECT)
        peers: list[_Peer] = []
        while len(peers) < processes.world - 1:
            peer = _Peer(server.accept()[0])
            shown, said = next(peer.messages(), ("", ""))
            if shown == word:
                peer.rank, peer.place = json.loads(said)
                peers.append(peer)
    return peers


def _server(processes: Processes) -> socket.socket:
    """Where rank 0 listens: on this machine alone where all processes are on it."""
    if processes.address in _LOOPBACK:
        return socket.create_server(("127.0.0.1", 0), backlog=processes.world)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=processes.world)


def _connect(processes: Processes, from_main: Callable[[Any], Any]) -> list[_Peer]:
    """The others: one connection, to rank 0."""
    port, word, place = from_main(None)
    peer = _Peer(socket.create_connection((processes.address, port), timeout=_CONNECT))
    peer.send(word, json.dumps([processes.rank, _here()]))
    peer.place = place
    return [peer]


def _here() -> str:
    """This process in words."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _keep_alive(connection: socket.socket) -> None:
    """A machine without a sign for 30 seconds is gone."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
