"""The outside: nmap, the operating system, the capture process. Thin, and without decisions."""
