"""The process that fuzzes one target: `python -m tests.fuzz.child MODULE FOLDER ARGUMENT...`.

FOLDER gets the target's seeds and words; the arguments are libFuzzer's.
"""

import sys
from importlib import import_module
from pathlib import Path

import atheris

_WATCHED = ["vedette", "nmap", "prometheus_client", "tornado", "yaml"]


def main() -> None:
    """Hand over to libFuzzer, which ends the process."""
    module, folder, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=_WATCHED):  # whose branches guide the search
        target = import_module(module)
    seeds = Path(folder, "seeds")
    seeds.mkdir()
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(seed)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.WORDS)
    Path(folder, "words").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
    atheris.Setup([module, *arguments], target.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
