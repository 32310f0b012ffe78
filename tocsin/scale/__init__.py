"""Where pure work runs: here, in worker processes, elsewhere."""
