"""What may leave a header, and under which pseudonym."""
