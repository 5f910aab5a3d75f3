r"""config.py: a file, a flag and a variable, in this order, with \0 between them."""

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import yaml

from tests.unit.test_bounded_yaml import BOMBS
from tests.unit.test_config import EXAMPLE
from vedette import config
from vedette.errors import ConfigError
from vedette.settings import Settings, all_leaves

_FLAGS = {path for path, _, _ in all_leaves()}  # cli.py knows no others
WORDS = sorted(
    {*(part.encode() for path in _FLAGS for part in path.split(".")), b"VEDETTE_", b"&a ", b"*a"}
)
_FILE = Path(tempfile.mkdtemp(prefix="vedette-fuzz-")) / "config.yaml"


def _read(contents: bytes) -> Settings:
    _FILE.write_bytes(contents)
    return config.read(_FILE, {})


def seeds() -> list[bytes]:
    """Return the example, and every setting with its default, as check-config prints it."""
    values = json.loads(json.dumps(asdict(_read(b"")), default=str))
    values |= values.pop("jobs")
    return [
        EXAMPLE.encode(),
        yaml.safe_dump(values).encode(),
        b"stats: {enabled: no}\0scan.networks=[192.0.2.0/24]\0VEDETTE_SCAN__EXPECTED_PORTS=[22]",
        b"\0publish.push.url=http://192.0.2.1:9091\0VEDETTE_PUBLISH__PUSH__ENABLED=true",
        *(bomb.encode() for bomb in BOMBS),
    ]


def take(given: bytes) -> None:
    """Hold that it is Settings, or refused in short sentences."""
    contents, flag, variable = [*given.split(b"\0", 2), b"", b""][:3]
    key, _, value = flag.decode(errors="replace").partition("=")
    name, _, text = variable.decode(errors="replace").replace("\0", "").partition("=")
    if re.fullmatch("VEDETTE_[A-Za-z0-9_]+", name):
        os.environ[name] = text
    _FILE.write_bytes(contents)
    try:
        with suppress(ConfigError):
            assert isinstance(config.read(_FILE, {key: value} if key in _FLAGS else {}), Settings)
    finally:
        os.environ.pop(name, None)
