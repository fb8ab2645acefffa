"""Labels: reading and checking datasets, the paper's augmentation, and batches for training."""
