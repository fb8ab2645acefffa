"""Tensors on disk: our self-describing checkpoints, and foreign ones through their importers."""
