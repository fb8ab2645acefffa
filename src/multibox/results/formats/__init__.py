"""One file per output format; `results/write.py` opens them by name."""
