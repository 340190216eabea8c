"""Exports: files of a session's results, bids and offers, for admins."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint, Response

from core import errors
from core.orders.exports import ExportView, FileFormat, Kind
from web.guards.operation import operation
from web.guards.tokens import Auth, current_user_id
from web.http import schemas, static_files
from web.state import services
from worker import enqueue

blueprint = Blueprint("exports", __name__, url_prefix="/api/admin")

MEDIA_TYPES = {FileFormat.CSV: "text/csv", FileFormat.NDJSON: "application/x-ndjson"}


@blueprint.post("/sessions/<session_id>/exports")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    body=schemas.NewExport(),
    response=schemas.Export(),
    status=201,
    refuses=(
        errors.SessionNotFound,
        errors.SessionNotEnded,
        errors.ResultsPending,
        errors.BidsArchived,
    ),
)
def request_export(session_id: UUID, kind: Kind, file_format: FileFormat) -> ExportView:
    """Request a file of a session's results, bids or offers."""
    export = services().exports.request(
        session_id, kind, file_format, requested_by=current_user_id()
    )
    enqueue.export(export.export_id)
    return export


@blueprint.get("/exports")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    query=schemas.PageQuery(),
    response=schemas.Export(many=True),
    paged=True,
)
def exports(page: int, page_size: int) -> tuple[Sequence[ExportView], int]:
    """List exports, newest first."""
    return services().exports.list(page=page, page_size=page_size)


@blueprint.get("/exports/<export_id>")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    response=schemas.Export(),
    refuses=(errors.ExportNotFound,),
)
def export(export_id: UUID) -> ExportView:
    """Get an export: how far it is, and its file's length and SHA-256."""
    return services().exports.get(export_id)


@blueprint.get("/exports/<export_id>/file")
@operation(
    auth=Auth.ADMIN,
    scope="orders:read",
    also_media_types=tuple(MEDIA_TYPES.values()),
    also_statuses=(206,),
    refuses=(errors.ExportNotFound, errors.ExportNotReady, errors.ExportFailed),
)
def export_file(export_id: UUID) -> Response:
    """Download an export, or with `Range` a part of it. Its ETag is its SHA-256."""
    found, path = services().exports.file(export_id)
    return static_files.send_download(
        path,
        name=found.download_name,
        media_type=MEDIA_TYPES[found.file_format],
        etag=str(found.sha256),
    )
