"""Exports: files of a session's rows."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from core.orders.exports import ExportState, FileFormat, Kind
from web.http.fields import Identifier, Integer, Moment, Text
from web.http.schemas.base import PageQuery, RequestSchema


class NewExport(RequestSchema):
    kind = fields.String(required=True, validate=validate.OneOf([kind.value for kind in Kind]))
    format = fields.String(
        load_default=FileFormat.CSV.value,
        validate=validate.OneOf([each.value for each in FileFormat]),
    )

    @post_load
    def convert(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """To core's types."""
        return {"kind": Kind(data["kind"]), "file_format": FileFormat(data["format"])}


class ResultsQuery(PageQuery):
    file_format = fields.String(
        data_key="format",
        load_default="json",
        validate=validate.OneOf(["json", FileFormat.CSV.value]),
        metadata={"description": "`csv`: all ranks at once, without pages, if they are few."},
    )


class Export(Schema):
    export_id = Identifier(required=True)
    session_id = Identifier(required=True)
    kind = fields.Enum(Kind, by_value=True, required=True)
    format = fields.Enum(FileFormat, by_value=True, required=True, attribute="file_format")
    state = fields.Enum(ExportState, by_value=True, required=True)
    row_count = Integer(required=True, allow_none=True)
    size_bytes = Integer(required=True, allow_none=True)
    sha256 = Text(required=True, allow_none=True)
    error = Text(
        required=True, allow_none=True, metadata={"description": "Why it failed, in a sentence."}
    )
    created_at = Moment(required=True)
    finished_at = Moment(required=True, allow_none=True)
    expires_at = Moment(required=True)
