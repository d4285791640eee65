"""The CycleGAN."""
