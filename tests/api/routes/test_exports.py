"""Exports over the API: requested, fetched whole and by ranges, refused."""

import csv
import io
from collections.abc import Callable
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from core.orders import exports
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.integration.orders.test_export_files import file_size_limit
from tests.support.broker import Broker
from tests.support.factories import Shop
from worker import queues


@pytest.fixture
def sale(shop: Shop) -> SessionView:
    session = shop.session()
    for _ in range(5):
        shop.bid(shop.bidder(), session, "120")
    shop.close(session)
    return session


Make = Callable[..., str]


@pytest.fixture
def make(admin: CheckedClient, sale: SessionView, shop: Shop) -> Make:
    """Request an export, and make it; its path."""

    def make_one(**body: str) -> str:
        wish = {"kind": "bids", **body}
        asked = admin.post(f"/api/admin/sessions/{sale.session_id}/exports", json=wish)
        shop.services.exports.make(UUID(asked.json["export_id"]))
        return f"/api/admin/exports/{asked.json['export_id']}"

    return make_one


def test_an_export_is_requested_made_and_fetched(
    admin: CheckedClient, sale: SessionView, shop: Shop, broker: Broker
) -> None:
    path = f"/api/admin/sessions/{sale.session_id}/exports"
    asked = admin.post(path, json={"kind": "results", "format": "ndjson"})
    assert (asked.status_code, asked.json["state"]) == (201, "waiting")
    export_id = asked.json["export_id"]
    assert broker.queued(queues.EXPORTS) == [("worker.tasks.make_export", [export_id])]
    early = admin.get(f"/api/admin/exports/{export_id}/file")
    assert (early.status_code, early.json["code"]) == (409, "export_not_ready")

    shop.services.exports.make(UUID(export_id))
    export = admin.get(f"/api/admin/exports/{export_id}").json
    file = admin.get(f"/api/admin/exports/{export_id}/file")
    assert (export["state"], export["row_count"], file.text.count("\n")) == ("done", 5, 5)
    assert (export["size_bytes"], export["sha256"]) == (
        len(file.data),
        sha256(file.data).hexdigest(),
    )
    assert file.mimetype == "application/x-ndjson"
    assert f"results-{sale.session_id}.ndjson" in file.headers["Content-Disposition"]
    listed = admin.get("/api/admin/exports")
    assert (listed.json, listed.headers["X-Total-Count"]) == ([export], "1")


def test_a_download_that_was_cut_is_seen_and_goes_on(admin: CheckedClient, make: Make) -> None:
    path = f"{make()}/file"
    whole = admin.get(path)
    etag, length = whole.headers["ETag"], len(whole.data)
    assert etag.strip('"') == sha256(whole.data).hexdigest()
    cut = whole.data[: length // 2]
    assert int(whole.headers["Content-Length"]) > len(cut)
    rest = admin.get(path, headers={"Range": f"bytes={len(cut)}-", "If-Range": etag})
    assert (rest.status_code, cut + rest.data) == (206, whole.data)
    assert rest.headers["Content-Range"] == f"bytes {len(cut)}-{length - 1}/{length}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-3"}, 206),
        ({"Range": "bytes=-4"}, 206),
        # Another file than the one that was begun: from the start.
        ({"Range": "bytes=4-", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=4-", "If-Range": "Mon, 01 Jan 99999 00:00:00 GMT"}, 200),
        ({"Range": "bytes=1000000-"}, 416),
        ({"Range": "bytes=0-1,3-4"}, 416),
        ({"Range": "lines=0-1"}, 416),
        ({"Range": "bytes=3-1"}, 416),
    ],
)
def test_ranges(admin: CheckedClient, make: Make, headers: dict[str, str], status: int) -> None:
    path = f"{make()}/file"
    whole = admin.get(path).data
    answer = admin.get(path, headers=headers)
    assert answer.status_code == status
    if status == 416:
        assert answer.json["code"] == "range_not_satisfiable"
        assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"
    else:
        assert len(answer.data) == (4 if status == 206 else len(whole))
        assert answer.data in whole


@pytest.mark.parametrize(
    "body", [{}, {"kind": "secrets"}, {"kind": "bids", "format": "xlsx"}, {"kind": ["bids"]}]
)
def test_an_unknown_kind_or_format_is_refused(
    admin: CheckedClient, sale: SessionView, body: dict[str, object]
) -> None:
    refused = admin.post(f"/api/admin/sessions/{sale.session_id}/exports", json=body)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")


def test_exports_that_cannot_be_are_refused(admin: CheckedClient, shop: Shop) -> None:
    running = shop.session().session_id
    for session_id, status, code in (
        (running, 409, "session_not_ended"),
        (uuid4(), 404, "session_not_found"),
        ("nothing", 404, "session_not_found"),
    ):
        refused = admin.post(f"/api/admin/sessions/{session_id}/exports", json={"kind": "offers"})
        assert (refused.status_code, refused.json["code"]) == (status, code)
    for export_id in (uuid4(), "nothing"):
        for path in (f"/api/admin/exports/{export_id}", f"/api/admin/exports/{export_id}/file"):
            refused = admin.get(path)
            assert (refused.status_code, refused.json["code"]) == (404, "export_not_found")


def test_a_failed_export_says_why(admin: CheckedClient, make: Make) -> None:
    with file_size_limit(100):
        path = make()
    assert admin.get(path).json["state"] == "failed"
    refused = admin.get(f"{path}/file")
    assert (refused.status_code, refused.json["code"]) == (409, "export_failed")
    assert refused.json["detail"] == admin.get(path).json["error"]


def test_results_as_csv_are_few_or_refused(
    anyone: CheckedClient, sale: SessionView, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/results/{sale.session_id}?format=csv"
    answer = anyone.get(path)
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    refused = anyone.get(f"/api/results/{shop.session().session_id}?format=csv")
    assert (refused.status_code, refused.json["code"]) == (409, "session_not_ended")
    assert anyone.get(f"{path}x").status_code == 422

    larger = shop.session()
    for _ in range(3):
        shop.bid(shop.bidder(), larger, "120")
    shop.close(larger)
    monkeypatch.setattr(exports, "MAX_DIRECT_ROWS", 2)
    refused = anyone.get(f"/api/results/{larger.session_id}?format=csv")
    assert (refused.status_code, refused.json["code"]) == (409, "results_too_large")
