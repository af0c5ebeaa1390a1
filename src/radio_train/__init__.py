"""Pre-training and evaluation of masked autoencoders on radiographs."""
