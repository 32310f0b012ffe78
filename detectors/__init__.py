"""Frames → scores. Every detector answers in surprise, so that they can be compared, fused and checked."""
