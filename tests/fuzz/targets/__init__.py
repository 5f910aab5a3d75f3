"""One file for each parser."""
