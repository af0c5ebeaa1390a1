"""Lossless codecs for 16-bit radiographs, one file a codec behind one interface."""
