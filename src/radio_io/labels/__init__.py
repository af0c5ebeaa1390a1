"""Labels of images for training tasks: from tables with original identifiers to the index, under pseudonyms."""
