"""Random changes of images during fine-tuning, on the training device and repeatable."""
