"""Grafana's provisioning directory, as the Ansible role and `./dev provision` fill it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FILES = Path(__file__).with_name("provisioning")

# {file below Grafana's provisioning directory: (file of FILES, {} standing for the engine)}
LAYOUT = {
    "datasources/vedette.yml": "datasources.yml.j2",
    "dashboards/vedette.yml": "dashboards.yml.j2",
    "alerting/vedette-rules.yml": "alerting-{}.yml",
    "alerting/vedette-notifications.yml": "notifications.yml.j2",
}


def rendered(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return {file below Grafana's provisioning directory: its text}.

    variables: those that the templates name in their first lines; each has a default.
    """
    environment = Environment(  # noqa: S701 - YAML, not HTML
        loader=FileSystemLoader(FILES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["to_json"] = json.dumps  # as Ansible calls it
    engine = variables.get("grafana_alerting", "grafana")
    if engine not in {"grafana", "alertmanager"}:
        raise ValueError(f"grafana_alerting is grafana or alertmanager, not {engine!r}")
    return {
        target: environment.get_template(source.format(engine)).render(variables)
        if source.endswith(".j2")
        else (FILES / source.format(engine)).read_text()
        for target, source in LAYOUT.items()
    }


def main(words: Sequence[str]) -> None:
    """Write them. words: the directory, then NAME=VALUE, or @FILE with them; values are YAML."""
    directory, *settings = words
    variables: dict[str, Any] = {}
    for word in settings:
        if word.startswith("@"):
            variables |= yaml.safe_load(Path(word[1:]).read_text(encoding="utf-8"))
        else:
            name, _, value = word.partition("=")
            variables[name] = yaml.safe_load(value)
    for name, text in rendered(variables).items():
        file = Path(directory, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o640)  # contact points hold secrets
        file.chmod(0o640)
        file.write_text(text, encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
