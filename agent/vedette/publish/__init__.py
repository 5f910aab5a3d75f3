"""Showing what was seen: metrics, a page for people, JSON. Only these modules know HTTP."""
