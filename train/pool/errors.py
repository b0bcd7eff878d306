"""The error of the pool."""


class PoolError(ValueError):
    """A table, a package or a part cannot be used."""
