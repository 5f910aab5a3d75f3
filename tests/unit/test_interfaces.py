"""interfaces.py: which interfaces and addresses are real."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edges.host import InterfaceAddress
from vedette.interfaces import Selection

REAL = (
    "eth0",
    "enp3s0",
    "wlan0",
    "wg0",
    "tun0",
    "ppp0",
    "br0",
    "bond0",
    "eth0.100",
    "Ethernet",
    "Wi-Fi",
    "vmbr0",
    "eno1",
    "vxlan100",
)
VIRTUAL = (
    "docker0", "docker1", "veth12ab34", "virbr0", "vnet3", "vmnet8", "vboxnet0", "lxcbr0", "lxdbr0",
    "cni0", "flannel.1", "cali123", "cilium_host", "podman0", "kube-ipvs0", "dummy0", "ifb0",
    "lxc_health", "lxc0a1b2c3d4e5f", "eni0a1b2c3d4e5", "gke0a1b2c3d4e5", "azv0a1b2c3d4e5",
    "incusbr0", "nerdctl0", "vxlan.calico", "antrea-gw0", "genev_sys_6081", "ovn-k8s-mp0",
    "ovs-system", "fwbr100i0", "fwpr100p0", "fwln100i0",
    "tap0", "br-0123456789ab", "ve-web", "vb-web", "vEthernet (WSL)", "vEthernet (Default Switch)",
)  # fmt: skip
LOOPBACKS = ("lo", "lo0", "Loopback Pseudo-Interface 1")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), REAL),
        (Selection(include_loopback=True), REAL + LOOPBACKS),
        (Selection(include_virtual=True), REAL + VIRTUAL),
        (Selection(include_loopback=True, include_virtual=True), REAL + VIRTUAL + LOOPBACKS),
    ],
)
def test_interfaces_that_count(selection: Selection, expected: tuple[str, ...]) -> None:
    """A host with fifty containers still has two real interfaces; each kind has a switch."""
    assert selection.chosen([*REAL, *VIRTUAL, *LOOPBACKS, "eth0"]) == sorted(expected)


FOUND = tuple(
    InterfaceAddress(name, ip_address(address), "")
    for name, address in (
        ("docker0", "172.17.0.1"),
        ("eth0", "169.254.7.7"),
        ("eth0", "192.0.2.10"),
        ("eth0", "127.0.0.53"),
        ("eth0", "fe80::1"),
        ("eth0", "2001:db8::10"),
        ("lo", "127.0.0.1"),
    )
)


@pytest.mark.parametrize(
    ("selection", "link_local", "expected"),
    [
        (Selection(), False, [2, 5]),
        (Selection(), True, [1, 2, 4, 5]),
        (Selection(include_virtual=True), False, [0, 2, 5]),
        (Selection(include_loopback=True), False, [2, 3, 5, 6]),
    ],
)
def test_addresses_that_count(
    selection: Selection, expected: list[int], *, link_local: bool
) -> None:
    """Real addresses are what the seed counted wrong; each kind of the others has a switch."""
    assert selection.addresses(iter(FOUND), link_local=link_local) == tuple(
        FOUND[n] for n in expected
    )


@given(st.lists(st.text()))
def test_any_name_is_in_or_out(names: list[str]) -> None:
    """Interface names are almost free text."""
    everything = Selection(include_loopback=True, include_virtual=True)

    assert everything.chosen(names) == sorted(set(names))
    assert set(Selection().chosen(names)) <= set(names)
