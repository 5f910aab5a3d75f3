"""The capture process: `python -m vedette.capture`. Nothing of it is imported by the agent itself.

It parses what strangers send, so it holds no secrets, knows no configuration but its arguments, and
may crash: that costs one window. It prints one JSON summary for each window on standard output, and
ends when its standard input is closed.
"""
