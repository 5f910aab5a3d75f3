"""targets.py: what a person may type as a target, a port or a list of ports."""

import re
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vedette import targets

NEITHER = "is neither an IP address nor a network in CIDR notation (names are refused)"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.10", "192.0.2.10/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("fd00::/112", "fd00::/112"),
    ],
)
def test_addresses_and_networks_are_targets(text: str, network: str) -> None:
    """A single address is a network of one."""
    assert targets.parse(text) == ip_network(network)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("192.0.2.10/24",
         "'192.0.2.10/24' is an address inside a network; did you mean 192.0.2.0/24?"),
        *(
            (text, f"{text!r} {NEITHER}")
            for text in (
                "router.example", "localhost", "-oN/etc/x", "--script=vuln", "192.0.2.0-255", "",
                "192.0.2.*", "192.0.2.1 192.0.2.2", "192.0.2.1/33", "@targets", "1", "0x7f.1",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_words(text: str, problem: str) -> None:
    """Names are somebody else's to change; and nothing typed may become an option of nmap."""
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        targets.parse(text)


@given(st.text())
@example("-oN/etc/x")
def test_any_text_is_a_network_or_a_value_error(text: str) -> None:
    """What comes out is digits, colons and dots, whatever went in."""
    with suppress(ValueError):
        assert re.fullmatch(r"[0-9a-f.:]+(%\S+)?/[0-9]+", str(targets.parse(text)))


def test_this_hosts_own_addresses_may_always_be_scanned() -> None:
    """Also where they are public; but not their neighbours."""
    own = [ip_address("8.8.8.8")]
    targets.check([ip_network("8.8.8.8/32")], allow_public=False, own=own)

    with pytest.raises(ValueError, match=r"^8\.8\.8\.8/31 is public"):
        targets.check([ip_network("8.8.8.8/31")], allow_public=False, own=own)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("22", ("tcp", 22)),
        ("tcp/22", ("tcp", 22)),
        ("22/udp", ("udp", 22)),
        ("UDP/53", ("udp", 53)),
    ],
)
def test_ports_are_written_in_either_way(text: str, port: tuple[str, int]) -> None:
    """Both are in use: nmap prints 22/tcp, firewalls tcp/22."""
    assert targets.parse_port(text) == port


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "ssh", "22/22", "22/sctp", "tcp/22/x", "tcp/udp/22", "-1", "²", "٢", "2 2", "22/"],
)
def test_what_is_no_port_is_refused(text: str) -> None:
    """A typing error in an allow-list would make every port unexpected."""
    with pytest.raises(ValueError, match=r"is not a port like 22, tcp/22 or udp/53$"):
        targets.parse_port(text)


@pytest.mark.parametrize("text", ["0", "65536", "tcp/99999"])
def test_a_port_has_16_bits(text: str) -> None:
    """And 0 is none."""
    with pytest.raises(ValueError, match="a port is between 1 and 65535"):
        targets.parse_port(text)


@pytest.mark.parametrize("text", ["22", "1-1024,8080", "1-65535", "80,80"])
def test_lists_of_ports_are_nmaps(text: str) -> None:
    """They go to nmap's command line as they are."""
    assert targets.parse_ports(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "22,", "1-", "-5", "1-2-3", "80-22", "tcp/22", "22-udp/53", "U:53", "http*", "0-9",
     "1-65536"],
)  # fmt: skip
def test_other_lists_are_refused(text: str) -> None:
    """The strings of nmap's own notation are many; those that we understand are few."""
    with pytest.raises(ValueError, match=r"(is not|is between|backwards)"):
        targets.parse_ports(text)


@given(st.text(st.sampled_from("0123456789-,/ tcpudp:*[]"), max_size=12))
def test_any_list_of_ports_is_digits_commas_and_dashes_or_refused(text: str) -> None:
    """It reaches the command line of a privileged program."""
    with suppress(ValueError):
        assert re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", targets.parse_ports(text))
