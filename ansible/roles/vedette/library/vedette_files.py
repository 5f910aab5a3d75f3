"""Ansible module: bring many files to a host at once, each validated before it is replaced.

What `file`, `copy`, `template` and `find` do one file at a time, and a connection for each: with
forty files that was most of the time of a run. Written by ansible's own atomic_move.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from glob import glob
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = """
module: vedette_files
short_description: Bring files to a host, and take away what is no longer brought
description:
  - In the order given. The first file that its validator refuses ends it.
author: [The vedette authors]
options:
  directories:
    description: "Made first: {path, mode, owner, group}."
    type: list
    elements: dict
    default: []
  files:
    description: "{path, content, mode, owner, group, validate}."
    type: list
    elements: dict
    default: []
  pruned:
    description: Patterns of files that are removed, unless they are among these.
    type: list
    elements: str
    default: []
  emptied:
    description: Patterns of files that hold an empty list from now on, unless they are among these.
    type: list
    elements: str
    default: []
  owner: {description: Of all that name no other., type: str, default: root}
  group: {description: Of all that name no other., type: str, default: root}
  backup: {description: Whether to keep what is replaced., type: bool, default: false}
"""
EXAMPLES = """
- name: Put the rules there
  vedette_files:
    files: "{{ rules | map('vedette_shipped', '/etc/x/rules', validate='check %s') }}"
    pruned: [/etc/x/rules/*]
"""
RETURN = """
paths: {description: "What was made, changed or removed.", type: list, returned: always}
backups: {description: "{dest, backup_file} of what was replaced.", type: list, returned: always}
"""

_LOOKS = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
_DIRECTORY = {**_LOOKS, "mode": {"type": "str", "default": "0755"}}
_FILE = {
    **_LOOKS,
    "mode": {"type": "str", "default": "0644"},
    "content": {"type": "str", "required": True},
    "validate": {"type": "str"},
}
_ARGUMENTS = {
    "directories": {"type": "list", "elements": "dict", "options": _DIRECTORY, "default": []},
    "files": {"type": "list", "elements": "dict", "options": _FILE, "default": []},
    "pruned": {"type": "list", "elements": "str", "default": []},
    "emptied": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "backup": {"type": "bool", "default": False},
}


class Module(AnsibleModule):  # type: ignore[misc]  # ansible has no types
    """One that keeps whole files out of the host's journal."""

    def _log_invocation(self) -> None:
        pass


class Bringing:
    """What was done so far."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.paths: list[str] = []
        self.backups: list[dict[str, str]] = []
        self.diffs: list[dict[str, str]] = []

    def directory(self, want: dict[str, Any]) -> None:
        """Have a directory there."""
        path = Path(want["path"])
        if not path.is_dir():
            self._changed(path, "absent", "directory")
            if not self.module.check_mode:
                path.mkdir(0o700, parents=True)
        self._look(path, want)

    def file(self, want: dict[str, Any]) -> None:
        """Have a file there, and nothing else in it."""
        path, content = Path(want["path"]), want["content"].encode()
        before = path.read_bytes() if path.exists() else None
        if before != content:
            handle, name = tempfile.mkstemp(dir=self.module.tmpdir)
            unfinished = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                self._validate(want, unfinished)
                self._changed(path, *(_text(part) for part in (before, content)))
                if not self.module.check_mode:
                    self._replace(path, unfinished)
            finally:
                unfinished.unlink(missing_ok=True)
        self._look(path, want)

    def prune(self, patterns: list[str], kept: set[str]) -> None:
        """Remove the files that match and are not to be kept."""
        for path in _others(patterns, kept):
            if path.is_symlink() or not path.is_dir():
                self._changed(path, "file", "absent")
                if not self.module.check_mode:
                    path.unlink()

    def empty(self, patterns: list[str], kept: set[str]) -> None:
        """Leave an empty list in the files that match and are not to be kept."""
        for path in _others(patterns, kept):
            mode = f"{path.stat().st_mode & 0o7777:04o}"
            self.file(
                {
                    "path": str(path),
                    "content": "[]\n",
                    "mode": mode,
                    "owner": None,
                    "group": None,
                    "validate": None,
                }
            )

    def end(self, failed: str = "") -> None:
        """Tell ansible."""
        said = {
            "changed": bool(self.paths), "paths": self.paths, "backups": self.backups,
            "diff": self.diffs,
        }  # fmt: skip
        if failed:
            self.module.fail_json(msg=failed, **said)
        self.module.exit_json(**said)

    def _replace(self, path: Path, unfinished: Path) -> None:
        if path.exists() and self.module.params["backup"]:
            copy = self.module.backup_local(str(path))
            self.backups.append({"dest": str(path), "backup_file": copy})
        self.module.atomic_move(str(unfinished), str(path))

    def _validate(self, want: dict[str, Any], unfinished: Path) -> None:
        if want["validate"] is None:
            return
        command = [word.replace("%s", str(unfinished)) for word in shlex.split(want["validate"])]
        if self.module.check_mode and not Path(command[0]).exists():
            return  # a check installs nothing, so there may be nothing yet to ask
        code, out, err = self.module.run_command(command)
        if code != 0:
            self.end(failed=f"{want['path']} is refused by {shlex.join(command)}: {out}{err}")

    def _look(self, path: Path, want: dict[str, Any]) -> None:
        """Give it its owner, group and mode. In a check, the group may not be there yet."""
        if self.module.check_mode and (not path.exists() or str(path) in self.paths):
            return
        owner, group = (want[which] or self.module.params[which] for which in ("owner", "group"))
        name = str(path)
        changed = self.module.set_owner_if_different(name, owner, False)  # noqa: FBT003
        changed = self.module.set_group_if_different(name, group, changed)
        changed = self.module.set_mode_if_different(name, want["mode"], changed)
        if changed and name not in self.paths:
            self._changed(path, "another owner, group or mode", f"{owner} {group} {want['mode']}")

    def _changed(self, path: Path, before: str, after: str) -> None:
        name = str(path)
        self.paths.append(name)
        self.diffs.append(
            {"before_header": name, "after_header": name, "before": before, "after": after}
        )


def _others(patterns: list[str], kept: set[str]) -> list[Path]:
    found = {path for pattern in patterns for path in glob(pattern)}  # noqa: PTH207 - absolute
    return sorted(map(Path, found - kept))


def _text(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


def main() -> None:
    """Do as told."""
    module = Module(_ARGUMENTS, supports_check_mode=True)
    bringing, want = Bringing(module), module.params
    for directory in want["directories"]:
        bringing.directory(directory)
    for file in want["files"]:
        bringing.file(file)
    copies = {copy["backup_file"] for copy in bringing.backups}
    kept = copies | {file["path"] for file in want["files"]}
    bringing.prune(want["pruned"], kept)
    bringing.empty(want["emptied"], kept)
    bringing.end()


if __name__ == "__main__":
    main()
