"""Write all boards: dashboards/<uid>.json to provision, import/<uid>.json to import by hand."""

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
    for path, text in files().items():
        (GRAFANA / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
