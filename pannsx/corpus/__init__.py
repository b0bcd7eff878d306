"""Many files: finding them, running them in batches, and saving results as they arrive."""
