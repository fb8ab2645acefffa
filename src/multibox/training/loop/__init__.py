"""Step after step: gradients, rates, averaged weights, what guards a step and what follows an epoch."""
