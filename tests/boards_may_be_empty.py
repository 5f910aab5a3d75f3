"""Panels that may show nothing in a healthy fleet, or before their metric is exposed, and why.

One list for all that look at the boards: everything else must return data from a real Prometheus.
"""

NO_CERTIFICATE = "no service speaks TLS here"
CALM = "only something wrong fills it"
QUIET = "a quiet day, on which nothing changed and nobody new was heard"
MONTH = "needs 30 days of watching"
_NO_DEADLINE = "nothing that was found has a deadline"
_ALLOW_LIST = "needs scan.expected_ports"
_PUBLISHER = "needs a publisher that goes out: push or remote_write"

# {uid of the board: {title of the panel: why}}
MAY_BE_EMPTY: dict[str, dict[str, str]] = {
    "vedette-fleet": {
        "Hosts past due": _NO_DEADLINE,
        "Which alerts fire?": CALM,
        "What changed on the hosts today?": QUIET,
        "Where is open what should not be?": _ALLOW_LIST,
        "Where is closed what should be open?": _ALLOW_LIST,
    },
    "vedette-host": {
        "Unexpected ports": _ALLOW_LIST,
        "Missing ports": _ALLOW_LIST,
        "Time left": _NO_DEADLINE,
        "Which certificates expire?": NO_CERTIFICATE,
        "What was found?": "nothing was found on this host",
        "Whom does it talk to?": "a host that nobody has talked to in the last window",
        "Which of its services carry traffic?": "a host whose services nobody has asked",
        "Which runs failed, and why?": CALM,
    },
    "vedette-vulnerabilities": {
        "Hosts overdue": _NO_DEADLINE,
        "Suppressed": "no version suggested what does not apply",
        "What is due next?": _NO_DEADLINE,
        "Why do findings not count?": "no version suggested what does not apply",
        "Which certificates expire first?": NO_CERTIFICATE,
        "Which findings are worst?": "nothing was found",
        "Which findings are most widespread?": "nothing was found",
        "Which products have them?": "nothing was found in a product that says its name",
        "Do they become fewer?": "nothing was found",
    },
    "vedette-network": {
        "Events": QUIET,
        "Which applications carry the traffic?": QUIET,
        "What happened?": QUIET,
        "Where did it happen?": QUIET,
        "Who are the busiest peers?": "nobody was talked to in the last window",
        "Who is near?": QUIET,
        "Whose ports does nobody use?": MONTH,
        "Which interfaces have errors?": CALM,
        "Which interfaces drop packets?": CALM,
    },
    "vedette-agent": {
        "Samples waiting": _PUBLISHER,
        "Samples lost": _PUBLISHER,
        "Does it arrive?": _PUBLISHER,
        "Why does it not arrive?": CALM,
        "Whose samples have not arrived for longest?": _PUBLISHER,
        "Why do jobs fail?": CALM,
        "What can they not do?": CALM,
        "Whom do they turn away?": "needs publish.expose.web_config_file",
    },
}
