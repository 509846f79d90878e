"""The machinery that all optimizers share; no algorithm lives here."""
