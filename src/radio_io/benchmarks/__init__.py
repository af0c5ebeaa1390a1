"""Measurements that a user runs on the own machine and files; each prints its yardstick beside it."""
