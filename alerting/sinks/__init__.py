"""The ways to Centreon. Each is a `Sink` and comes in as a plugin."""
