"""The variables of all roles, as a table for the README."""

from collections.abc import Iterator

import yaml

from tests.unit.ansible.plugins import ROLES


def table() -> str:
    """Return a Markdown table of what meta/argument_specs.yml declare, role by role."""
    head = ["| variable | may be | default | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *_rows()]) + "\n"


def _rows() -> Iterator[str]:
    for file in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        spec = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]["main"]
        options = spec.get("options", {})
        if options:
            yield f"| **{file.parts[-3]}** | | | {spec['short_description']} |"
        for name, option in options.items():
            kind = " or ".join(map(str, option.get("choices", [option["type"]])))
            description = " ".join(option["description"].split())
            yield f"| `{name}` | {kind} | {_shown(option.get('default', ''))} | {description} |"


def _shown(default: object) -> str:
    if default in ("", None):
        return ""
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`".replace("|", "\\|")
