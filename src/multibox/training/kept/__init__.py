"""What a training leaves behind: its folder, checkpoints, weights, numbers, curves and pictures."""
