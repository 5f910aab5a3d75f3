"""What ansible-core itself makes of the roles' variables and templates. No host is asked."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager  # type: ignore[import-untyped]
from ansible.parsing.dataloader import DataLoader  # type: ignore[import-untyped]
from ansible.playbook.play import Play  # type: ignore[import-untyped]
from ansible.plugins.loader import init_plugin_loader  # type: ignore[import-untyped]
from ansible.template import Templar, trust_as_template  # type: ignore[import-untyped]
from ansible.vars.hostvars import HostVars  # type: ignore[import-untyped]
from ansible.vars.manager import VariableManager  # type: ignore[import-untyped]

from tests.unit.ansible.plugins import PROJECT, ROLES


class Controller:
    """An inventory, and the roles' variables as their tasks see them. Nothing is connected to."""

    def __init__(self, directory: Path, inventory: dict[str, Any]) -> None:
        _load_plugins()
        self._loader = DataLoader()
        self._loader.set_basedir(str(PROJECT / "ansible"))
        file = directory / "hosts.yml"
        file.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        self._inventory = InventoryManager(self._loader, sources=[str(file)])
        self._variables = VariableManager(self._loader, self._inventory)
        self._tasks: dict[str, tuple[Play, Any]] = {}
        self._hostvars = HostVars(self._inventory, self._variables, self._loader)

    def render(self, role: str, host: str, text: str, **more: Any) -> Any:
        """Return what a template says in a task of `role` on `host`."""
        if role not in self._tasks:
            self._tasks[role] = self._first_task(role)
        play, task = self._tasks[role]
        variables = self._variables.get_vars(
            play=play, host=self._inventory.get_host(host), task=task
        )
        return Templar(
            self._loader, variables=variables | {"hostvars": self._hostvars} | more
        ).template(trust_as_template(text))

    def _first_task(self, role: str) -> tuple[Play, Any]:
        play = Play().load(
            {"hosts": "all", "gather_facts": False, "roles": [str(ROLES / role)]},
            variable_manager=self._variables, loader=self._loader,
        )  # fmt: skip
        tasks = [task for block in play.compile() for task in block.block]
        found = [task for task in tasks if task.get_path().startswith(f"{ROLES / role}/")]
        return play, found[0]


@cache
def _load_plugins() -> None:
    """Once in a process: ansible warns of a second time."""
    init_plugin_loader([])
