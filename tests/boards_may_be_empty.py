"""Panels that may show nothing in a healthy fleet, or before their metric is exposed, and why.

One list for all that look at the boards: everything else must return data from a real Prometheus.
"""

_COMING = "its metric is in the contract, but no agent exposes it yet"
_CALM = "only something wrong fills it"
_ALLOW_LIST = "needs scan.expected_ports"
_PUBLISHER = "needs a publisher that goes out: push or remote_write"

# {uid of the board: {title of the panel: why}}
MAY_BE_EMPTY: dict[str, dict[str, str]] = {
    "vedette-fleet": {
        "Known exploited": _COMING,
        "Hosts past due": _COMING,
        "Which alerts fire?": _CALM,
        "What changed on the hosts today?": "a quiet day",
        "Where is open what should not be?": _ALLOW_LIST,
        "Where is closed what should be open?": _ALLOW_LIST,
    },
    "vedette-host": {
        "Unexpected ports": _ALLOW_LIST,
        "Missing ports": _ALLOW_LIST,
        "Known exploited findings": _COMING,
        "Time left": _COMING,
        "Which certificates expire?": _COMING,
        "What was found?": "nothing was found on this host",
        "Whom does it talk to?": "a host that nobody has talked to in the last window",
        "Which of its services carry traffic?": "a host whose services nobody has asked",
        "Which runs failed, and why?": _CALM,
    },
    "vedette-vulnerabilities": {
        "Exploited in the wild": _COMING,
        "Hosts overdue": _COMING,
        "Suppressed": _COMING,
        "What is due next?": _COMING,
        "Why do findings not count?": _COMING,
        "How old is the knowledge?": _COMING,
        "How much is known?": _COMING,
        "Which certificates expire first?": _COMING,
        "Which findings are worst?": "nothing was found",
        "Which findings are most widespread?": "nothing was found",
        "Which products have them?": "nothing was found in a product that says its name",
        "Do they become fewer?": "nothing was found",
    },
    "vedette-network": {
        "Events": _COMING,
        "Which applications carry the traffic?": _COMING,
        "What happened?": _COMING,
        "Where did it happen?": _COMING,
        "Who are the busiest peers?": "nobody was talked to in the last window",
        "Who is near?": "no neighbour was heard",
        "Which interfaces have errors?": _CALM,
        "Which interfaces drop packets?": _CALM,
    },
    "vedette-agent": {
        "Samples waiting": _PUBLISHER,
        "Samples lost": _PUBLISHER,
        "Does it arrive?": _PUBLISHER,
        "Why does it not arrive?": _CALM,
        "Whose samples have not arrived for longest?": _PUBLISHER,
        "Why do jobs fail?": _CALM,
        "What can they not do?": _CALM,
        "Whom do they turn away?": "needs publish.expose.web_config_file",
    },
}
