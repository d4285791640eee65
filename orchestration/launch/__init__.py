"""How a stage's command reaches a processor: compute.yaml, and the launchers it names. Never part of an identity."""
