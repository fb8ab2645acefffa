"""Functions run by several processes at once, as a launcher would start them, but forked, which is quick.

Where a fork would lose threads of the tests' process (autograd's, and hotcoco's: all that learns or validates), the
processes are `fresh`: forked from one that has only imported what they need. Functions for these stand in a module.
"""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch


def in_ranks(world: int, work: Callable[..., Any], *args: Any, fresh: bool = False, timeout: float = 120) -> list[Any]:
    """What `work(*args)` returns in each of `world` processes. An exception there is raised here."""
    results = []
    with start_ranks(world, work, *args, fresh=fresh) as ranks:
        for process, pipe in ranks:
            assert pipe.poll(timeout), "a rank hangs"
            ok, value = pipe.recv()
            assert ok, value
            results.append(value)
            process.join(timeout)
            assert process.exitcode == 0
    return results


@contextmanager
def start_ranks(
    world: int, work: Callable[..., Any], *args: Any, fresh: bool = False
) -> Iterator[list[tuple[BaseProcess, Connection]]]:
    """The processes, begun, and where each sends (whether it succeeded, what it returns or its traceback)."""
    context = multiprocessing.get_context("forkserver" if fresh else "fork")
    if fresh:
        context.set_forkserver_preload(["multibox.training.train"])
    port = free_port()
    started = []
    for rank in range(world):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(rank, world, port, send, work, args))
        process.start()
        send.close()
        started.append((process, receive))
    try:
        yield started
    finally:
        for process, _ in started:
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _work(rank: int, world: int, port: int, send: Connection, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    try:
        outcome = True, work(*args)
    except BaseException:
        outcome = False, traceback.format_exc()
    send.send(outcome)
    send.close()
