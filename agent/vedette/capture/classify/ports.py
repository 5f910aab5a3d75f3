"""Which protocol is usual at which port (IANA's service names, in our fixed list of labels)."""

_TCP = {
    "ftp": (21,), "ftp-data": (20,), "ssh": (22,), "telnet": (23,), "smtp": (25, 587),
    "dns": (53,), "http": (80, 8000, 8008, 8080, 8888, 3128), "kerberos": (88, 464),
    "pop3": (110,), "rpc": (111,), "ident": (113,), "nntp": (119,), "dcerpc": (135,),
    "smb": (139, 445), "imap": (143,), "snmp": (161, 162), "bgp": (179,), "irc": (194, 6667),
    "ldap": (389, 3268), "tls": (443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5061, 8443),
    "modbus": (502,), "rlogin": (513,), "lpd": (515,), "rtsp": (554,), "ipp": (631,),
    "rsync": (873,), "socks": (1080,), "mssql": (1433,), "oracle": (1521,), "pptp": (1723,),
    "mqtt": (1883,), "rtmp": (1935,), "nfs": (2049,), "git": (9418,), "iscsi": (3260,),
    "mysql": (3306,), "rdp": (3389,), "diameter": (3868,), "sip": (5060,),
    "xmpp": (5222, 5269), "postgresql": (5432,), "amqp": (5672,), "vnc": (5900, 5901),
    "x11": (6000,), "redis": (6379,), "bittorrent": (6881,), "cassandra": (9042,),
    "memcached": (11211,), "mongodb": (27017,), "enip": (44818,), "iec104": (2404,),
    "dnp3": (20000,), "s7": (102,), "whois": (43,), "finger": (79,), "tacacs": (49,),
    "h323": (1720,), "skinny": (2000,), "opcua": (4840,), "couchbase": (11210,),
    "kafka": (9092,), "doip": (13400,), "ajp": (8009,), "elasticsearch": (9300,),
    "bitcoin": (8333,), "rsh": (514,), "smpp": (2775,), "afp": (548,), "synphasor": (4712,),
}  # fmt: skip
_UDP = {
    "dns": (53,), "dhcp": (67, 68), "tftp": (69,), "kerberos": (88, 464), "rpc": (111,),
    "ntp": (123,), "nbns": (137,), "nbdgm": (138,), "snmp": (161, 162), "ldap": (389,),
    "slp": (427,), "quic": (443, 80), "isakmp": (500,), "syslog": (514,), "rip": (520,),
    "ripng": (521,), "dhcpv6": (546, 547), "openvpn": (1194,), "l2tp": (1701,),
    "radius": (1645, 1646, 1812, 1813), "ssdp": (1900,), "hsrp": (1985,), "nfs": (2049,),
    "gtp": (2123, 2152), "netflow": (2055, 9995), "stun": (3478,), "teredo": (3544,),
    "bfd": (3784,), "ipsec": (4500,), "vxlan": (4789,), "sip": (5060,), "nat-pmp": (5350, 5351),
    "mdns": (5353,), "llmnr": (5355,), "coap": (5683,), "geneve": (6081,), "sflow": (6343,),
    "memcached": (11211,), "bacnet": (47808,), "wireguard": (51820,), "glbp": (3222,),
    "ws-discovery": (3702,), "lisp": (4341, 4342), "capwap": (5246, 5247), "mgcp": (2427, 2727),
    "ptp": (319, 320), "enip": (44818, 2222), "dropbox": (17500,), "ldp": (646,),
    "mpls-in-udp": (6635,), "pim": (496,), "h225": (1719,), "rmcp": (623,), "who": (513,),
    "collectd": (25826,), "mndp": (5678,), "doip": (13400,), "pfcp": (8805,), "bjnp": (8612,),
    "raknet": (19132,), "oicq": (8000,), "megaco": (2944,), "tplink": (9999,),
    "olsr": (698,), "dtls": (4433,), "cups": (631,), "babel": (6696,), "pgm": (3055,),
}  # fmt: skip

USUAL: dict[str, dict[int, str]] = {
    transport: {port: name for name, ports in table.items() for port in ports}
    for transport, table in (("tcp", _TCP), ("udp", _UDP))
}


def by_port(transport: str, *ports: int) -> str:
    """Return the protocol that is usual at the lowest of these ports that has one, or ""."""
    usual = USUAL.get(transport, {})
    return next((usual[port] for port in sorted(ports) if port in usual), "")
