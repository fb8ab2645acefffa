"""Several processes of one run: which one this is, what they say to each other, how they end."""
