"""The packed ViT masked autoencoder."""
