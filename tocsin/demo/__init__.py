"""A park that never was: a simulator, what really happened in it, and a source that tells it to the product."""
