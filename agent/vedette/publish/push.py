"""To a Pushgateway: one complete snapshot of this host in one group, replaced as a whole.

Nothing is queued: what is sent is what is known when it is sent, so a gateway that hangs, breaks or
refuses costs a thread its time, and nothing else.
"""

import base64
import gzip
import re
import time
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric

from vedette import log
from vedette.publish.exposition import TEXT, level_of, render, series
from vedette.publish.options import Profile
from vedette.publish.options import Push as Options
from vedette.publish.pace import Pace
from vedette.publish.remote import Outcome, Remote
from vedette.publish.sender import Sender

LEAN_SERIES = 150
_GZIP_LEVEL = 6  # a body that is sent once: 10 % smaller than at level 1, for half a millisecond

# Of the process, not of the host: thirty series that every pusher would leave in the gateway.
_NOISE = ("process_", "python_")

# The profile `lean`.
LEAN = (
    "vedette_build_info",
    "vedette_job_last_success_timestamp_seconds",
    "vedette_job_interval_seconds",
    "vedette_capability",
    "vedette_config_last_reload_successful",
    "vedette_os_info",
    "vedette_cpu_usage_ratio",
    "vedette_load1",
    "vedette_memory_size_bytes",
    "vedette_memory_available_bytes",
    "vedette_addresses",
    "vedette_scanned_hosts",
    "vedette_hosts_up",
    "vedette_neighbours",
    "vedette_port_changes",
    "vedette_knowledge_build_timestamp_seconds",
    "vedette_host_risk_score",
    "vedette_open_ports",
    "vedette_unexpected_open_ports",
    "vedette_missing_expected_ports",
    "vedette_known_exploited_findings",
    "vedette_finding_due_timestamp_seconds",
    "vedette_findings",
    "vedette_network_events",
    "vedette_filesystem_size_bytes",
    "vedette_filesystem_available_bytes",
    "vedette_interface_receive_bytes",
    "vedette_interface_transmit_bytes",
    "vedette_address_info",
    "vedette_port_risk_score",
    "vedette_open_port_info",
    "vedette_certificate_expiry_timestamp_seconds",
    "vedette_publish_last_success_timestamp_seconds",
)
# The library takes the end off the name of an info metric, but not of a gauge that is one.
_LEAN = frozenset(name.removesuffix("_info") for name in LEAN)

# What a path can hold as it is; everything else goes in Base64, as does "..", which is a direction.
_PLAIN = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]+")


def group(job: str, instance: str) -> str:
    """Return the path of a group (https://github.com/prometheus/pushgateway#url)."""
    return f"/metrics/{_part('job', job)}/{_part('instance', instance)}"


def _part(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{name}/{value}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
    return f"{name}@base64/{encoded or '='}"


def select(families: Iterable[Metric], profile: Profile) -> tuple[tuple[Metric, ...], int]:
    """Return what of the agent's metrics this profile pushes, and how many series had no place."""
    own = (family for family in families if not family.name.startswith(_NOISE))
    if profile == "full":
        return tuple(own), 0
    wanted = [family for family in own if family.name.removesuffix("_info") in _LEAN]
    level = level_of((len(family.samples) for family in wanted), LEAN_SERIES)
    kept = tuple(_first(family, level) for family in wanted)
    return kept, series(wanted) - series(kept)


def _first(family: Metric, most: int) -> Metric:
    if len(family.samples) <= most:
        return family
    shown = Metric(family.name, family.documentation, family.type, family.unit)
    shown.samples = family.samples[:most]
    return shown


def packed(families: Iterable[Metric]) -> bytes:
    """Return families as text, compressed."""
    return gzip.compress(render(families, TEXT), _GZIP_LEVEL, mtime=0)


class Push(Sender):
    """families: all that is known now. phase: this host's place in the interval.

    An ordinary stop leaves the group where it is.
    """

    def __init__(
        self,
        options: Options,
        instance: str,
        families: Callable[[], tuple[Metric, ...]],
        phase: float,
    ) -> None:
        super().__init__("push")
        self._options = options
        self._remote = Remote(options)
        self._target = f"{self._remote.path}{group(options.job, instance)}"
        self.group = f'{{job="{options.job}", instance="{instance}"}}'
        self._families = families
        self._pace = Pace(options.interval_seconds, phase)

    def push(self) -> Outcome:
        """Replace the group by what is known now."""
        chosen, over = select(self._families(), self._options.profile)
        self.tally.drop(over)
        self.tally.buffered = series(chosen)
        headers = {"Content-Type": TEXT, "Content-Encoding": "gzip"}
        outcome = self._remote.exchange(
            "PUT", self._target, packed(chosen), headers, stop=self._stop
        )
        if not outcome.reason:
            self.tally.buffered = 0
        return outcome

    def delete(self) -> Outcome:
        """Remove the group, for a host that will not come back."""
        return self._remote.exchange("DELETE", self._target, stop=self._stop)

    def _work(self) -> None:
        wait = self._pace.until_slot(time.time(), first=True)
        while not self._stop.wait(wait):
            try:
                outcome = self.push()
            except Exception as exc:  # noqa: BLE001 - a bug costs this push, not those after it
                log.event("error", "bug in a publisher", trace=True, publisher="push")
                outcome = Outcome("bug", type(exc).__name__)
            self.tally.count(outcome)
            wait = self._pace.after(outcome, self._pace.until_slot(time.time()))
