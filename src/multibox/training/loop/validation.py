"""How good the network is now: the evaluation of `multibox evaluate`, on the live network, shared by all processes."""

from __future__ import annotations

from contextlib import nullcontext, suppress

from multibox.data.dataset import Dataset
from multibox.evaluation.report import Report
from multibox.evaluation.sharing import find_share, score_shares
from multibox.network.model import SSD
from multibox.prediction.detector import Detector
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.training.loop.interruption import Interrupted, Interruption
from multibox.training.processes import group


def validate(network: SSD, dataset: Dataset, batch: int, interruption: Interruption) -> dict[str, float]:
    """COCO's 12 numbers and the AP of each class (`AP/NAME`), of rank 0's weights, on every rank.

    The network is left in the mode that it was in. Raises `Interrupted`, on all ranks, where an end is asked for.
    """
    group.send_state(network)
    training = network.training
    network.eval()
    try:
        report = _share(Detector(TorchEngine(network)), dataset, batch, interruption)
    finally:
        network.train(training)
    numbers = report and {**report.metrics, **{f"AP/{row.name}": row.AP for row in report.per_class}}
    return group.from_main(numbers) or {}


def _share(detector: Detector, dataset: Dataset, batch: int, interruption: Interruption) -> Report | None:
    """The report, on rank 0. One process is interrupted where it is; several look up after each image."""

    def look_up(done: int, total: int) -> None:
        if interruption.asked is not None:
            raise Interrupted(interruption.asked)

    share = None
    with interruption.at_once() if group.world() == 1 else nullcontext():
        with suppress(Interrupted):
            share = find_share(detector, dataset, batch=batch, rank=group.rank(), world=group.world(), progress=look_up)
        if group.agree(share is None) or share is None:
            raise Interrupted(interruption.asked)
        shares = group.gather(share)
        return score_shares(detector, dataset, shares) if shares else None
