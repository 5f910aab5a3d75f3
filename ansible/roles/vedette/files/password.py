"""Make a password: NAME.password for clients, and its hash, NAME.bcrypt, for servers.

Called by tasks/certificate.yml, on the controller, as password.py DIRECTORY/NAME.
"""

import os
import secrets
import sys
from pathlib import Path

import bcrypt


def write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.rename(path)


def main() -> None:
    """Make both files; a password that is there already (the user's own choice) is kept."""
    name = Path(sys.argv[1])
    password = name.with_suffix(".password")
    if not password.exists():
        write(password, secrets.token_urlsafe(24))
    hashed = bcrypt.hashpw(password.read_bytes().strip(), bcrypt.gensalt(10))
    write(name.with_suffix(".bcrypt"), hashed.decode())


if __name__ == "__main__":
    main()
