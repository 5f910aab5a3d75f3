"""ansible/ on Debian machines: from nothing to a fleet that is watched, and away again."""

import time
from collections.abc import Iterator

import pytest

from tests.fleet import root
from tests.fleet.controller import Controller
from tests.fleet.machine import Fleet, Machine
from tests.fleet.proxy import proxy, use

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(600, func_only=True)]


@pytest.fixture(scope="module")
def packages(fleet: Fleet) -> Iterator[str]:
    with proxy(fleet) as address:
        yield address


@pytest.fixture(scope="module")
def controller(fleet: Fleet) -> Controller:
    return Controller(fleet.directory / "controller")


@pytest.fixture(scope="module")
def machines(fleet: Fleet, controller: Controller, packages: str) -> dict[str, Machine]:
    bare = root.base(root.BARE, "trixie")
    made = {}
    for name, base in {"web1": None, "web2": bare}.items():
        made[name] = fleet.machine(base)
        controller.adopt(name, made[name])
        use(made[name], packages)
    return made


def test_try(controller, machines) -> None:
    controller.release("1.0.0")
    only = "--limit=" + ",".join(machines)
    for words in (["--check", "--diff"], ["--diff"], [], ["--check", "--diff"]):
        played = controller.play("upgrade.yml", only, *words)
        print(words, played.output)
        print(played.code, played.hosts, played.seconds)
        assert played.code == 0
    print(machines["web1"].exec("systemctl", "status", "vedette", "--no-pager"))
