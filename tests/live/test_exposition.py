"""The text of /metrics: what Prometheus, its linter and OpenMetrics make of it."""

import gzip
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.live.netns import V4, Namespace
from tests.live.running import FIGURES, Agent, Metrics, vedette

pytestmark = pytest.mark.live

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def promtool(text: str) -> str:
    """Return what `promtool check metrics` has to say."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - wherever the distribution has it
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"{done.stdout}{done.stderr}" + (f"status {done.returncode}" if done.returncode else "")


def test_promtool_has_nothing_to_say(agent: Agent) -> None:
    """Names, types, units and help texts follow the practices."""
    assert promtool(agent.get("/metrics").text) == ""


def test_promtool_has_nothing_to_say_on_once(
    yard: tuple[Namespace, Namespace, Path], tmp_path: Path
) -> None:
    """`vedette once` prints the same format, for the textfile collector and for people."""
    host, _, _ = yard
    done = vedette(host, tmp_path / "state", "once", "--job", "stats")

    assert done.returncode == 0, done.stderr
    assert promtool(done.stdout) == ""
    assert Metrics(done.stdout).value("vedette_address_info", address=V4) == 1


def test_openmetrics_says_the_same(agent: Agent) -> None:
    """The same series in the other format, which its own strict parser can read."""
    answer = agent.get("/metrics", headers=OPENMETRICS)

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    families = list(text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]
    names = {sample.name for family in families for sample in family.samples}
    assert names == {sample.name for sample in agent.metrics().samples}


def test_gzip_is_the_same_text(agent: Agent) -> None:
    """And about a tenth of it."""

    def both() -> bool:
        plain = agent.get("/metrics")
        packed = agent.get("/metrics", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < len(plain.body) / 3
        assert len(gzip.compress(plain.body)) < len(plain.body)
        return plain.body == packed.body

    assert any(both() for _ in range(5))  # a job may end between the two


def test_a_host_with_twenty_ports_stays_below_300_series(
    field: tuple[Namespace, Namespace, Path], agent: Agent
) -> None:
    """Also once each of its ports was used, which gives a port four series more."""
    _, peer, _ = field
    before = agent.metrics()
    numbers = [int(x["port"]) for x in before.labels("vedette_open_port_info", address=V4)]
    assert len(numbers) >= 18
    for number in numbers:
        peer.connect(V4, number).close()
    after = agent.wait_for_success("sniff", 10, after=agent.successes("sniff") + 2)

    series = len(after.samples)
    FIGURES[f"series of a host with {len(numbers)} ports in use"] = str(series)
    assert len(after.labels("vedette_service_bytes_total")) >= 2 * len(numbers)
    assert series <= 300
    assert after.value("vedette_series_dropped_total") == 0
