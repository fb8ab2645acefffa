"""Photos on their way to the network: in which order, in which batches, at which size, finished on the device."""
