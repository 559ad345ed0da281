"""One optimiser for everything that is trained: configuration, trainer, run, checkpoint, distribution."""
