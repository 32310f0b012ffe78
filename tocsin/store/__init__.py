"""What survives a restart: state (SQL), baselines (.npz files) and history (columnar files)."""
