"""CAN: a simple, efficient and scalable contrastive masked autoencoder (Mishra, Robinson et al., 2022), in JAX."""
