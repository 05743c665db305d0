"""Walking the latent space: encode an image, choose a pathology, traverse its strength."""
