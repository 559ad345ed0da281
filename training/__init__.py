"""Torch: datasets, generator, discriminator, losses, adaptation, speech."""
