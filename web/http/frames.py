"""Schemas of the WebSocket's messages. The AsyncAPI document is generated from them."""

from marshmallow import Schema, fields

from web.http.schemas import Board, Results

BOARD_UPDATE, SESSION_ENDED = "leaderboard_update", "session_ended"


def _type(name: str) -> fields.Constant[str]:
    return fields.Constant(name, required=True, metadata={"type": "string", "enum": [name]})


class FinalResults(Results):
    """Results with all winners and without a page of ranks."""

    class Meta:
        exclude = ("rankings", "page", "page_size", "total_pages")


class BoardUpdate(Schema):
    type = _type(BOARD_UPDATE)
    data = fields.Nested(Board, required=True)


class SessionEnded(Schema):
    type = _type(SESSION_ENDED)
    data = fields.Nested(FinalResults, required=True)
