"""Millions of pictures on many machines: listed once, cut into shards, predicted by Ray's workers exactly once."""
