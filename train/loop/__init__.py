"""A run, step by step: what :mod:`train.run` is made of."""
