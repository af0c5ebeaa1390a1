"""From shards to batches: order, packing, reading, decoding."""
