"""Anything with pixels -> detections: sources, engines, and the detector that conducts them."""
