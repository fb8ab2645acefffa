"""Learning: the loss, the loop, the schedules, the run folder."""
