"""Showing what was seen: metrics, a page for people, JSON. Nothing else in the program knows HTTP."""
