"""The `radio` command line: parse, call one library function, render."""
