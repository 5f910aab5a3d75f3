"""Which interfaces and addresses count as real. Three jobs ask, so it stands outside `jobs/`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vedette.edges.host import InterfaceAddress
from vedette.option import setting

# Made by container engines, hypervisors and VPN-less plumbing; wireguard and tun are real networks.
# lxc: LXC's bridge, and Cilium's end of each pod; eni, gke, azv: those of Amazon, Google and Azure;
# fwbr, fwln, fwpr: Proxmox' firewall.
_VIRTUAL = re.compile(
    r"docker\d|br-[0-9a-f]{12}$|veth|virbr|vnet\d|vmnet|vboxnet|lxc|lxdbr|incusbr|cni|flannel|cali"
    r"|vxlan\.calico|cilium|eni[0-9a-f]{11}$|gke[0-9a-f]{11}$|azv[0-9a-f]{11}$|antrea-|genev_sys_"
    r"|ovn-k8s-|ovs-system$|podman|nerdctl\d|kube|nodelocaldns|dummy|ifb|vEthernet|ve-|vb-|tap\d"
    r"|fw(?:br|ln|pr)\d|Hyper-V|VMware|VirtualBox",
    re.IGNORECASE,
)
_LOOPBACK = re.compile(r"lo\d*$|Loopback", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which interfaces to look at. Part of the options of a job."""

    include_loopback: bool = setting(default=False, text="Whether loopback counts.")
    include_virtual: bool = setting(
        default=False,
        text="Whether interfaces of containers and virtual machines (docker0, veth…) count.",
    )

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that count, sorted."""
        return sorted(
            name
            for name in set(names)
            if (self.include_loopback or not _LOOPBACK.match(name))
            and (self.include_virtual or not _VIRTUAL.match(name))
        )

    def addresses(
        self, found: Iterable[InterfaceAddress], *, link_local: bool = False
    ) -> tuple[InterfaceAddress, ...]:
        """Return those of `found` that count, in their order."""
        found = tuple(found)
        names = set(self.chosen(a.interface for a in found))
        return tuple(
            a
            for a in found
            if a.interface in names
            and (link_local or not a.address.is_link_local)
            and (self.include_loopback or not a.address.is_loopback)
        )
