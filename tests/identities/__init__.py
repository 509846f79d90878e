"""Tests of what must hold between the optimizers, and of each by itself."""
