"""How fast, against whom, and how exact: one small script a question.

    python -m benchmarks.all

runs every question on the CPU; ``benchmarks/README.md`` says how to install those we compare with.
"""
