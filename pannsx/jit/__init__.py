"""Compiling with Numba: vector instructions, and machine code kept from process to process."""
