"""What learning minimises: which prior learns which object, and what it loses by its scores and its place."""
