"""Where files are read from: the file system, archives, object stores."""
