"""See that a release of the agent is well: right after it was started, or at any time."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = """
module: vedette_health
short_description: See that a release of the agent is well
description:
  - >-
    Waits until the service is active, answers in the version that is expected, and shows the
    first figures of its host; then until its publisher, if it has one, has brought all that to its
    server. It must then stay up for some seconds, as the same process, and find by its own check
    that it can work here.
  - Changes nothing, and can be asked at any time.
options:
  version: {description: The release that should answer., type: str, required: true}
  program: {description: The agent's program., type: path, required: true}
  url: {description: Its metrics., type: str, required: true}
  ca_file: {description: Authority of its certificate., type: path}
  username: {description: Who asks., type: str}
  password: {description: Of that user., type: str}
  raw_sockets: {description: Whether it should have raw sockets., type: bool, default: true}
  publisher: {description: How it sends its metrics., type: str, choices: [push, remote_write]}
  gateway: {description: A Pushgateway that should have this release's group., type: str}
  gateway_ca_file: {description: Authority of its certificate., type: path}
  gateway_username: {description: Who asks there., type: str}
  gateway_password: {description: Of that user., type: str}
  instance: {description: The group's label instance., type: str}
  seconds: {description: How long it may take until it answers., type: int, default: 15}
  publisher_seconds: {description: How long its publisher may take., type: int, default: 90}
  settle_seconds: {description: How long it must stay up., type: int, default: 0}
  selfcheck: {description: Whether it is asked to check itself., type: bool, default: true}
author: The vedette authors
"""

_ARGUMENTS = {
    "version": {"type": "str", "required": True},
    "program": {"type": "path", "required": True},
    "url": {"type": "str", "required": True},
    "ca_file": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "raw_sockets": {"type": "bool", "default": True},
    "publisher": {"type": "str", "choices": ["push", "remote_write"]},
    "gateway": {"type": "str"},
    "gateway_ca_file": {"type": "path"},
    "gateway_username": {"type": "str"},
    "gateway_password": {"type": "str", "no_log": True},
    "instance": {"type": "str"},
    "seconds": {"type": "int", "default": 15},
    "publisher_seconds": {"type": "int", "default": 90},
    "settle_seconds": {"type": "int", "default": 0},
    "selfcheck": {"type": "bool", "default": True},
}
# One question. A release that hangs must not hold up the rest.
_ASK_SECONDS = 2
_LARGEST = 64 << 20
# A process that was told to end may still answer, and the state of the one before still be told;
# one that goes on does not get any newer, and one that ended as soon as it was started will again.
_HOPELESS_SECONDS = 3
_UNIT = ("ActiveState", "MainPID", "NRestarts", "SubState")


class Ill(Exception):
    """What is wrong, in words."""


class Hopeless(Ill):
    """Waiting will hardly help."""


def main() -> None:
    """Ask until all is well, or time is up."""
    module = AnsibleModule(_ARGUMENTS, supports_check_mode=True)
    want = module.params
    try:
        _patiently(lambda: _answers(want), want["seconds"])
        if want["publisher"] is not None:
            _patiently(lambda: _has_sent(want), want["publisher_seconds"])
        if want["gateway"] is not None:
            _patiently(lambda: _has_arrived(want), want["publisher_seconds"])
        _stays(want["settle_seconds"])
        if want["selfcheck"]:
            _selfcheck(want)
    except Ill as ill:
        module.fail_json(msg=str(ill))
    module.exit_json(changed=False, version=want["version"])


def _patiently(look: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    hopeless = float("inf")  # since when, without a break
    while True:
        try:
            look()
        except Ill as ill:
            now = time.monotonic()
            hopeless = min(hopeless, now) if isinstance(ill, Hopeless) else float("inf")
            if now > min(end, hopeless + _HOPELESS_SECONDS):
                raise
            time.sleep(0.3)
        else:
            return


def _answers(want: dict[str, Any]) -> None:
    state = _unit()
    if state["ActiveState"] == "failed" or state["SubState"].startswith("auto-restart"):
        raise Hopeless(f"the service ended at once: {state}")
    if state["ActiveState"] != "active":
        raise Ill(f"the service is {state['ActiveState']}")
    text = _get(want["url"], want["ca_file"], want["username"], want["password"])
    seen = re.findall(r'(?m)^vedette_build_info\{[^}\n]*\bversion="([^"]*)"', text)
    if seen != [want["version"]]:
        raise Hopeless(
            f"it answers as version {', '.join(seen) or 'unknown'}, not {want['version']}"
        )
    if not re.search(r"(?m)^vedette_job_last_success_timestamp_seconds\{", text):
        raise Ill("it has no figures yet")


def _stays(seconds: float) -> None:
    before = _unit()
    time.sleep(seconds)
    if (after := _unit()) != before:
        raise Ill(f"it does not stay up: {before}, then {after}")


def _has_sent(want: dict[str, Any]) -> None:
    text = _get(want["url"], want["ca_file"], want["username"], want["password"])
    name = "vedette_publish_last_success_timestamp_seconds"
    if f'{name}{{publisher="{want["publisher"]}"}}' not in text:
        why = re.findall(r"(?m)^vedette_publish_failures_total\{([^}\n]*)\} [1-9]", text)
        raise Ill(
            f"nothing was accepted by {want['publisher']} yet ({'; '.join(why) or 'no error'})"
        )


def _has_arrived(want: dict[str, Any]) -> None:
    user, password = want["gateway_username"], want["gateway_password"]
    text = _get(f"{want['gateway']}/metrics", want["gateway_ca_file"], user, password)
    for labels in re.findall(r"(?m)^vedette_build_info\{([^}\n]*)\}", text):
        if f'instance="{want["instance"]}"' in labels and f'version="{want["version"]}"' in labels:
            return
    raise Ill(f"{want['gateway']} has no group of {want['instance']} with {want['version']}")


def _get(url: str, ca_file: str | None, username: str | None, password: str | None) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - the role makes these addresses
    if username is not None:
        pair = base64.b64encode(f"{username}:{(password or '').strip()}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    handlers: list[Any] = [urllib.request.ProxyHandler({})]  # the environment's is not meant
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=ca_file)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, timeout=_ASK_SECONDS) as answer:
            return str(answer.read(_LARGEST).decode(errors="replace"))
    except (OSError, ValueError, urllib.error.URLError) as exc:
        raise Ill(f"{url}: {exc}") from exc


def _unit() -> dict[str, str]:
    lines = _run(["systemctl", "show", "vedette", f"--property={','.join(_UNIT)}"]).stdout
    return dict(line.partition("=")[::2] for line in lines.splitlines())


def _selfcheck(want: dict[str, Any]) -> None:
    """Ask as the service's user, with what the unit gives it."""
    power = "+net_raw" if want["raw_sockets"] else "-net_raw"
    user = pwd.getpwnam("vedette")
    command = [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={power}", f"--ambient-caps={power}"),
        *(want["program"], "selfcheck", "--format", "json"),
    ]
    done = _run(command, STATE_DIRECTORY="/var/lib/vedette")
    try:
        checks = json.loads(done.stdout)
    except ValueError:
        raise Ill(f"selfcheck: {(done.stderr or done.stdout)[-500:]}") from None
    given_up = set() if want["raw_sockets"] else {"raw sockets"}
    wrong = [c for c in checks if not c["ok"] and c["what"] not in given_up]
    if wrong:
        raise Ill("selfcheck: " + "; ".join(f"{c['what']}: {c['says']}" for c in wrong))


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - fixed commands
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=15, env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Ill(f"{command[0]}: {exc}") from exc


if __name__ == "__main__":
    main()
