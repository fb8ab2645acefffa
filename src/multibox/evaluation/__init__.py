"""Comparing with the truth: COCO's and VOC's metrics, on any engine."""
