"""From files to shards: scan, plan, sample, write, build, verify."""
