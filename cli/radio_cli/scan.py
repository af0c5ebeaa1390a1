"""`radio scan`: headers only."""
