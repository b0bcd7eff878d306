"""Networks as they run on the CPU: the same maps, laid out for its caches and vector instructions."""
