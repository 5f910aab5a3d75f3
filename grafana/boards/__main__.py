"""Write all boards: dashboards/<uid>.json to provision, import/<uid>.json to import by hand.

--pictures URL: draw them too, from what that Prometheus answers, to docs/boards/<uid>.png.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from grafana.boards import agent, fleet, host, network, vulnerabilities
from grafana.boards.board import built, for_import

GRAFANA = Path(__file__).parents[1]
BOARDS = (fleet.BOARD, host.BOARD, vulnerabilities.BOARD, network.BOARD, agent.BOARD)


def files() -> dict[Path, str]:
    """{path below grafana/: its text}."""
    made = {board.uid: built(board) for board in BOARDS}
    return {
        **{Path("dashboards") / f"{uid}.json": _text(board) for uid, board in made.items()},
        **{Path("import") / f"{uid}.json": _text(for_import(board)) for uid, board in made.items()},
    }


def _text(board: dict[str, Any]) -> str:
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(prog="./dev boards", description=__doc__)
    parser.add_argument("--pictures", metavar="URL", help="of a Prometheus with some hosts")
    parser.add_argument("--minutes", type=float, default=30, help="how much of the past")
    parser.add_argument("--instance", default=".+", help="the host whose board is drawn")
    arguments = parser.parse_args()
    for path, text in files().items():
        (GRAFANA / path).write_text(text, encoding="utf-8")
    if arguments.pictures:
        from grafana.boards import pictures  # noqa: PLC0415 - matplotlib takes a second to load

        source = pictures.Prometheus(arguments.pictures, arguments.minutes, arguments.instance)
        for board in BOARDS:
            pictures.draw(built(board), source, GRAFANA.parent / "docs" / "boards")


if __name__ == "__main__":
    main()
