"""Pixels: reading photos of every kind and bringing them to the network's size; knows no labels."""
