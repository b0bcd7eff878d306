"""Benchmarks of speed and accuracy against other tools: one small script per question.

    python -m benchmarks.all

runs every question on the CPU; ``benchmarks/README.md`` explains the installation of the peers.
"""
