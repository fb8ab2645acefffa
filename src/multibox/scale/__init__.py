"""Millions of pictures over many machines: listed once, cut into shards, predicted by Ray's workers, each exactly once."""
