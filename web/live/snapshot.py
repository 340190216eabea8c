"""A session's board at one moment, as the frames that show it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from websockets.frames import Frame, Opcode

from core.bootstrap import Services
from web import schemas
from web.answers import encode

_FIRST_PAGE: dict[str, int] = schemas.PageQuery().load({})
_BOARD = schemas.Board()
_WINNERS_ONLY = schemas.Results(exclude=("rankings", "page", "page_size", "total_pages"))


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Frames as they go over the wire; `is_final` when the results stand and no more will come.

    A server's frames are the same for every client, so they are made once for all.
    """

    frames: bytes
    is_final: bool


def take(services: Services, session_id: UUID) -> Snapshot:
    """The first page of the board, and the results once they stand. Blocks."""
    board = services.board.page(session_id, **_FIRST_PAGE)
    frames = [_frame("leaderboard_update", _BOARD.dump(board))]
    if not board.provisional:
        results = services.results.get(session_id, page=1, page_size=1)
        frames.append(_frame("session_ended", _WINNERS_ONLY.dump(results)))
    return Snapshot(b"".join(frames), is_final=not board.provisional)


def _frame(kind: str, data: Any) -> bytes:
    text = encode({"type": kind, "data": data})
    return Frame(Opcode.TEXT, text).serialize(mask=False)
