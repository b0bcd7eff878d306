"""Doors for other libraries and benchmarks, one file each. Nothing in the package imports them."""
