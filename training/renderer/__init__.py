"""The renderer: generator, discriminator, losses, the actor's texture."""
