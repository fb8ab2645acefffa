"""The options about what runs the network name what the library knows."""

from __future__ import annotations

from typing import get_args

from multibox.cli.running import EngineOption
from multibox.prediction.engines import EngineName


def test_every_engine_can_be_asked_for():
    assert get_args(EngineOption.__origin__) == get_args(EngineName)
