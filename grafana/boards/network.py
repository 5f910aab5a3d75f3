"""Network: which protocols, services and peers carry the traffic, who is near, what happened."""

from grafana.boards.board import TO_HOST_OF_CELL, Board, Section
from grafana.boards.panels import ANY, SOME, Column, Query, bars, rows, single, time_series

NOW = (
    single(
        "Received",
        "What the hosts receive, by their kernels' account, over five minutes.",
        "bps",
        "8 * sum(instance:vedette_interface_receive_bytes:rate5m{instances})",
        width=4,
    ),
    single(
        "Sent",
        "What the hosts send, by their kernels' account, over five minutes.",
        "bps",
        "8 * sum(instance:vedette_interface_transmit_bytes:rate5m{instances})",
        width=4,
    ),
    single(
        "Captured packets",
        "Packets that the agents looked at, over five minutes.",
        "pps",
        "sum(instance_protocol:vedette_captured_packets:rate5m{instances})",
        width=4,
    ),
    single(
        "Neighbours",
        "Addresses of the local networks that were heard (ARP, NDP, DHCP, mDNS): of the host that"
        " hears most.",
        "none",
        "max(vedette_neighbours{instances}{fresh})",
        width=4,
    ),
    single(
        "Events",
        "Events of the last hour: new neighbours, spoofing, scans, floods, passwords in clear.",
        "none",
        "round(sum(instance_event:vedette_network_events:increase1h{instances}))",
        steps=SOME,
        width=4,
    ),
    single(
        "Packets not seen",
        "Share of packets that the kernel dropped because capture was too slow. Above 1 % the other"
        " figures of this board are too low.",
        "percentunit",
        "sum(rate(vedette_capture_dropped_packets_total{instances}[$__rate_interval]))"
        " / (sum(rate(vedette_captured_packets_total{instances}[$__rate_interval]))"
        " + sum(rate(vedette_capture_dropped_packets_total{instances}[$__rate_interval])))",
        steps=((None, "green"), (0.001, "yellow"), (0.01, "red")),
        width=4,
    ),
)

TRAFFIC = (
    time_series(
        "Which protocols carry the traffic?",
        "Captured traffic by IP protocol (IANA's names).",
        "bps",
        (
            Query(
                "8 * sum by (protocol)"
                " (instance_protocol:vedette_captured_bytes:rate5m{instances})",
                "{{protocol}}",
            ),
        ),
        stacked=True,
        every="1m",
    ),
    time_series(
        "How many packets, of which protocol?",
        "Captured packets by IP protocol. Many small ones hint at scans or floods.",
        "pps",
        (
            Query(
                "sum by (protocol) (instance_protocol:vedette_captured_packets:rate5m{instances})",
                "{{protocol}}",
            ),
        ),
        stacked=True,
        every="1m",
    ),
    time_series(
        "Which applications carry the traffic?",
        "Captured traffic by application protocol: of the hosts' own ports all, of others' a part.",
        "bps",
        (
            Query(
                "8 * sum by (app_protocol)"
                " (instance_app_protocol:vedette_application_bytes:rate5m{instances})",
                "{{app_protocol}}",
            ),
        ),
        stacked=True,
        every="1m",
    ),
    time_series(
        "Which services of the hosts carry traffic?",
        "Captured to and from the hosts' own open ports.",
        "bps",
        (
            Query(
                "8 * topk(15, sum by (app_protocol)"
                " (instance_service:vedette_service_bytes:rate5m{instances}))",
                "{{app_protocol}}",
            ),
        ),
        stacked=True,
        every="1m",
    ),
)

WHO = (
    rows(
        "Which services are busiest?",
        "Packets and bytes captured within the chosen time range, by host and open port: the 20"
        " busiest.",
        (
            (
                "topk(20, sum by (instance, app_protocol, transport, port)"
                " (increase(vedette_service_bytes_total{instances}[$__range])))"
            ),
            (
                "topk(20, sum by (instance, app_protocol, transport, port)"
                " (increase(vedette_service_packets_total{instances}[$__range])))"
            ),
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("app_protocol", "Application"),
            Column("transport", "Transport", width=100),
            Column("port", "Port", width=80),
            Column("Value #A", "Bytes", unit="bytes", width=110),
            Column("Value #B", "Packets", unit="short", decimals=0, width=110),
        ),
        sort=("Bytes", True),
    ),
    rows(
        "Who are the busiest peers?",
        "Bytes exchanged with them in the last window of capture.",
        ('topk(20, vedette_peer_bytes{instances, peer!="other"}{fresh})',),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("peer", "Peer"),
            Column("Value", "Bytes", unit="bytes", width=110),
        ),
        sort=("Bytes", True),
        width=6,
    ),
    rows(
        "Who is near?",
        "Neighbours by address and hardware, and how many hosts have heard each. An address with"
        " two MACs is a conflict or an attack (ARP spoofing).",
        ("topk(100, count by (address, mac, vendor) (vedette_neighbour_info{instances}{fresh}))",),
        (
            Column("address", "Address"),
            Column("mac", "MAC"),
            Column("vendor", "Vendor"),
            Column("Value", "Heard by", width=90),
        ),
        sort=("Address", False),
        width=6,
    ),
    time_series(
        "What happened?",
        "Events in the hour before, by kind; what each means stands in the README and the runbook.",
        "none",
        (
            Query(
                "round(sum by (event)"
                " (instance_event:vedette_network_events:increase1h{instances})) > 0",
                "{{event}}",
            ),
        ),
        every="1m",
    ),
    rows(
        "Where did it happen?",
        "Hosts that saw an event within the last hour.",
        (
            (
                "round(max by (instance, event)"
                " (instance_event:vedette_network_events:increase1h{instances})) > 0"
            ),
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("event", "Event"),
            Column("Value", "How often", steps=ANY, width=110),
        ),
        sort=("How often", True),
        height=8,
        width=6,
    ),
    rows(
        "Whose ports does nobody use?",
        "Open ports that nobody but the agent has used for 30 days; the agent's page lists them.",
        ("max by (instance) (vedette_idle_ports{instances}{fresh}) > 0",),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("Value", "Ports", steps=ANY, width=90),
        ),
        sort=("Ports", True),
        height=8,
        width=6,
    ),
)

SPEEDS = (
    bars(
        "Who receives most?",
        "Speed of receiving between the agent's last two looks, by interface: the ten fastest.",
        "Bps",
        Query(
            "topk(10, vedette_interface_receive_bytes_per_second{instances}{fresh})",
            "{{instance}} {{interface}}",
        ),
        width=6,
    ),
    bars(
        "Who sends most?",
        "Speed of sending between the agent's last two looks, by interface: the ten fastest.",
        "Bps",
        Query(
            "topk(10, vedette_interface_transmit_bytes_per_second{instances}{fresh})",
            "{{instance}} {{interface}}",
        ),
        width=6,
    ),
    time_series(
        "Which interfaces have errors?",
        "Errors by the kernel's account: the ten interfaces with most.",
        "pps",
        (
            Query(
                "topk(10, sum by (instance, interface, direction)"
                " (rate(vedette_interface_errors_total{instances}[$__rate_interval])) > 0)",
                "{{instance}} {{interface}} {{direction}}",
            ),
        ),
        width=6,
    ),
    time_series(
        "Which interfaces drop packets?",
        "Packets that an interface or its queue dropped: the ten interfaces with most.",
        "pps",
        (
            Query(
                "topk(10, sum by (instance, interface, direction) (rate("
                "vedette_interface_dropped_packets_total{instances}[$__rate_interval])) > 0)",
                "{{instance}} {{interface}} {{direction}}",
            ),
        ),
        width=6,
    ),
)

BOARD = Board(
    uid="vedette-network",
    description="Which protocols, services and peers carry the traffic; who is near; events.",
    sections=(
        Section("", (*NOW, *TRAFFIC, *WHO)),
        Section("Interfaces", SPEEDS),
    ),
)
