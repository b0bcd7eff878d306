"""Compilation with Numba: vector instructions, and a cache of machine code shared by processes."""
