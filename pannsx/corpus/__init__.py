"""Many files: finding them, running them in batches, and keeping what was found as it comes."""
