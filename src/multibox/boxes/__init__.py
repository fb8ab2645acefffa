"""Geometry: priors, overlap, coding, matching, suppression; only coordinates, scores and indices come in here."""
