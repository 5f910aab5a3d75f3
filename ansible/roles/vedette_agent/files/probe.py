"""Print, as JSON, what a host has: which wheels it takes, room for them, the time."""

import json
import os
import sys
import time
from importlib.util import find_spec

where = "/opt" if os.path.isdir("/opt") else "/"  # noqa: PTH112 - as small as can be
room = os.statvfs(where)
print(
    json.dumps(
        {
            "tag": f"cp{sys.version_info[0]}{sys.version_info[1]}-{os.uname().machine}",
            "recent": sys.version_info >= (3, 11),
            "venv": all(find_spec(name) for name in ("ensurepip", "venv")),
            "free_bytes": room.f_bavail * room.f_frsize,
            "now": time.time(),
        }
    )
)
