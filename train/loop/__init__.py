"""The parts of the training loop in :mod:`train.run`."""
