"""Figures: how long a step takes, how much memory the state needs, beside Keras."""
