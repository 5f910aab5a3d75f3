"""Grafana's dashboards as code: each module makes one board. `./dev boards` writes them as JSON.

Made with Grafana's own SDK, in development only: the agent never imports this. Read panels.py
first, then any board.
"""
