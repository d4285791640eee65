"""Sentences by a transformer GAN and by the same generator trained by maximum likelihood, always side by side. Plain torch."""
