"""All symptoms, in the order in which they are looked for."""

# isort: off
from keras_adamx.doctor.symptoms import finite, losses, steps, state

# isort: on
from keras_adamx.doctor.registry import SYMPTOMS

__all__ = ["SYMPTOMS", "finite", "losses", "state", "steps"]
