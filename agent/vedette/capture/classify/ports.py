"""Which protocol is usual at which port (IANA's service names, in our fixed list of labels)."""

_TCP = {
    "ftp": (21,), "ftp-data": (20,), "ssh": (22,), "telnet": (23,), "smtp": (25, 587),
    "dns": (53,), "http": (80, 591, 2869, 3128, 5985, 8000, 8008, 8080, 8888),
    "kerberos": (88, 464),
    "pop3": (110,), "rpc": (111,), "ident": (113,), "nntp": (119,), "dcerpc": (135,),
    "smb": (139, 445), "imap": (143,), "snmp": (161, 162), "bgp": (179,), "irc": (194, 6667),
    "ldap": (389, 3268),
    "tls": (443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5061, 5671, 5986, 6697, 8443, 8883),
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
    "openflow": (6633, 6653), "rpki-rtr": (323,), "ldp": (646,), "msdp": (639,), "lisp": (4342,),
    "hl7": (2575,), "gearman": (4730,), "openwire": (61616,), "drda": (446,), "rmi": (1099,),
    "z3950": (210,), "hislip": (4880,), "ceph": (6789,), "lustre": (988,),
    "kismet": (2501,), "ads": (48898,), "icap": (1344,), "zabbix": (10050, 10051),
    "zookeeper": (2181,), "nats": (4222,), "stomp": (61613,), "gnutella": (6346,),
    "ncp": (524,), "msrp": (2855,), "hart-ip": (5094,), "pcep": (4189,), "dcap": (22125,),
    "chargen": (19,), "daytime": (13,), "discard": (9,), "echo": (7,), "time": (37,),
    "gopher": (70,), "exec": (512,), "dict": (2628,), "managesieve": (4190,),
    "acap": (674,), "giop": (683,), "netconf": (830,),
    "oscar": (5190,), "msnp": (1863,), "winbox": (8291,),
    "bgmp": (264,), "c1222": (1153,), "netflow": (4739,), "dlep": (854,),
    "knxip": (3671,),
}  # fmt: skip
_UDP = {
    "dns": (53,), "dhcp": (67, 68), "tftp": (69,), "kerberos": (88, 464), "rpc": (111,),
    "ntp": (123,), "nbns": (137,), "nbdgm": (138,), "snmp": (161, 162), "ldap": (389,),
    "slp": (427,), "quic": (443, 80), "isakmp": (500,), "syslog": (514,), "rip": (520,),
    "ripng": (521,), "dhcpv6": (546, 547), "openvpn": (1194,), "l2tp": (1701,),
    "radius": (1645, 1646, 1700, 1812, 1813, 3799), "ssdp": (1900,), "nfs": (2049,),
    "hsrp": (1985, 2029),
    "gtp": (2123, 2152, 3386), "netflow": (2055, 4739, 9995), "stun": (3478,), "teredo": (3544,),
    "bfd": (3784, 3785, 4784, 6784, 7784), "ipsec": (4500,), "vxlan": (4789, 4790, 8472),
    "sip": (5060,), "nat-pmp": (5350, 5351),
    "mdns": (5353,), "llmnr": (5355,), "coap": (5683,), "geneve": (6081,), "sflow": (6343,),
    "memcached": (11211,), "bacnet": (47808,), "wireguard": (51820,), "glbp": (3222,),
    "ws-discovery": (3702,), "lisp": (4341, 4342), "capwap": (5246, 5247), "mgcp": (2427, 2727),
    "ptp": (319, 320), "enip": (44818, 2222), "dropbox": (17500,), "ldp": (646,),
    "mpls-in-udp": (6635,), "auto-rp": (496,), "h225": (1719,), "rmcp": (623,), "who": (513,),
    "collectd": (25826,), "mndp": (5678,), "doip": (13400,), "pfcp": (8805,), "bjnp": (8612,),
    "raknet": (19132,), "oicq": (8000,), "megaco": (2944, 2945), "tplink": (9999,),
    "olsr": (698,), "dtls": (4433,), "cups": (631,), "babel": (6696,), "pgm": (3055,),
    "mpls-ping": (3503,), "aodv": (654,), "lmp": (701,), "lwapp": (12222, 12223), "lwres": (921,),
    "timed": (525,), "rx": (*range(7000, 7010), 7021), "rdp": (3389,), "hart-ip": (5094,),
    "dlep": (854,), "uftp": (1044,), "c1222": (1153,), "knxip": (3671,), "tivoconnect": (2190,),
    "cnip": (1628,), "cphap": (8116,), "egd": (18246,), "sbus": (5050,), "caneth": (11898,),
    "fins": (9600,), "ads": (48899,), "xdmcp": (177,), "iax2": (4569,), "synphasor": (4713,),
    "steam": (27036,), "gnutella": (6346,), "mqtt-sn": (1883,), "modbus": (502,), "dnp3": (20000,),
    "chargen": (19,), "daytime": (13,), "discard": (9,), "echo": (7,), "time": (37,),
    "zigbee-encap": (17754, 17755), "bittorrent": (6771, 6881), "wccp": (2048,), "mobileip": (434,),
    "tacacs": (49,), "dcerpc": (135,), "quake": (27960,), "gvcp": (3956,),
    "diameter": (3868,), "tzsp": (37008,), "smb": (445,), "gre": (4754,), "ayiya": (5072,),
    "gprs-ns": (2157,), "sap": (9875,), "dlsw": (2067,), "mssql": (1434,),
}  # fmt: skip

USUAL: dict[str, dict[int, str]] = {
    transport: {port: name for name, ports in table.items() for port in ports}
    for transport, table in (("tcp", _TCP), ("udp", _UDP))
}


def usual(transport: str, *ports: int) -> list[str]:
    """Return the protocols that are usual at these ports, that of the lowest first."""
    table = USUAL.get(transport, {})
    return [table[port] for port in sorted([port for port in ports if port in table])]


def by_port(transport: str, *ports: int) -> str:
    """Return the protocol that is usual at the lowest of these ports that has one, or ""."""
    table = USUAL.get(transport, {})
    known = [port for port in ports if port in table]
    return table[min(known)] if known else ""
