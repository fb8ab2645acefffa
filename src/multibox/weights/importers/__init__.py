"""One file per foreign codebase: its key names, the order of its head rows, how it tells its models apart."""

from multibox.weights.importers import torchvision
from multibox.weights.importers.contract import Foreign, Imported, Importer

__all__ = ["IMPORTERS", "Foreign", "Imported", "Importer"]

IMPORTERS: tuple[Importer, ...] = (torchvision.read,)
"""Every importer, asked in this order."""
