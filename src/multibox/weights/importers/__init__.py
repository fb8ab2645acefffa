"""One file per foreign codebase: its key names, the order of its head rows, how it tells its models apart."""

from multibox.weights.importers import (
    amdegroot,
    caffe,
    gluon_torch,
    gluoncv,
    lufficc,
    mindcv,
    mlperf,
    mmdet,
    mobilenext,
    nvidia,
    qfgaohao,
    torchvision,
    ultra_light_face,
)
from multibox.weights.importers.contract import Foreign, Imported, Importer

__all__ = ["IMPORTERS", "Foreign", "Imported", "Importer"]

IMPORTERS: tuple[Importer, ...] = (
    torchvision.read,
    lufficc.read,
    mobilenext.read,
    amdegroot.read,
    mmdet.read,
    gluon_torch.read,
    gluoncv.read,
    ultra_light_face.read,
    qfgaohao.read,
    caffe.read,
    mindcv.read,
    nvidia.read,
    mlperf.read,
)
"""Every importer, asked in this order."""
