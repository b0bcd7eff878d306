"""From sources to answers: windows, batches, devices, and the network that runs them."""
