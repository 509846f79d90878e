"""Tests of the optimizers against recursions and against other packages."""
