"""Files and directories, as the module vedette_files takes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def directory(path: str, **looks: Any) -> dict[str, Any]:
    """Return a directory of the host."""
    return {"path": path, **looks}


def file(path: str, content: str, **looks: Any) -> dict[str, Any]:
    """Return a file of the host."""
    return {"path": path, "content": content, **looks}


def shipped(source: str, directory: str, **looks: Any) -> dict[str, Any]:
    """Return a file of the controller, to lie in a directory of the host."""
    path = Path(source)
    return file(f"{directory}/{path.name}", path.read_text("utf-8"), **looks)


def kept(
    sources: Mapping[str, str], directory: str, *, missing_ok: bool = False, **looks: Any
) -> list[dict[str, Any]]:
    """Return files of the controller, {name on the host: path}.

    missing_ok: without those that are not made yet.
    """
    return [
        file(f"{directory}/{name}", Path(source).expanduser().read_text("utf-8"), **looks)
        for name, source in sources.items()
        if not missing_ok or Path(source).expanduser().exists()
    ]


def secrets(values: Mapping[str, Any], directory: str, **looks: Any) -> list[dict[str, Any]]:
    """Return a file for each of {name: secret}."""
    return [file(f"{directory}/{name}", str(value), **looks) for name, value in values.items()]


class FilterModule:
    """What ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters, by the names that templates use."""
        return {
            "vedette_directory": directory,
            "vedette_file": file,
            "vedette_kept": kept,
            "vedette_secrets": secrets,
            "vedette_shipped": shipped,
        }
