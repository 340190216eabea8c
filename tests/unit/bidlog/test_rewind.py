"""Which sequences a drain gives bids, and what it records, when Redis came back older."""

from itertools import pairwise
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from core.bidlog import rewind
from core.bidlog.entries import Entry
from core.bidlog.incidents import Incident, Loss, _loss
from core.postgres.models import SessionEvent

SESSION_ID = UUID(int=1)
NO_DATABASE = cast("Session", None)

Recorded = list[tuple[Incident, dict[str, Any]]]


def entries(*told: int) -> list[Entry]:
    return [(f"{sequence}-0", {}) for sequence in told]


def placed(offset: int, *told: int) -> list[rewind.PendingBid]:
    return rewind.assign_sequences(entries(*told), offset)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """What is recorded, in place of a table."""
    events: Recorded = []

    def record(_db: Session, _session_id: UUID, kind: Incident, **details: Any) -> None:
        events.append((kind, details))

    monkeypatch.setattr(rewind, "record", record)
    return events


@pytest.mark.parametrize(
    ("offset", "told", "sequences"),
    [
        pytest.param(0, [1, 2, 3], [1, 2, 3], id="as told"),
        pytest.param(3, [4, 6, 9], [4, 6, 9], id="gaps stay"),
        pytest.param(5, [3, 4], [6, 7], id="rewound, behind what is stored"),
        pytest.param(5, [4, 9, 10], [6, 9, 10], id="as told again after the rewind"),
        pytest.param(5, [4, 5, 6, 7], [6, 7, 8, 9], id="one moved pushes the next"),
    ],
)
def test_a_bid_has_the_sequence_told_unless_another_may_have_it(
    offset: int, told: list[int], sequences: list[int]
) -> None:
    due = placed(offset, *told)
    assert [one.entry_sequence for one in due] == told
    assert [one.sequence for one in due] == sequences


@given(
    offset=st.integers(min_value=0, max_value=50),
    told=st.lists(st.integers(min_value=1, max_value=80), min_size=1, unique=True).map(sorted),
)
def test_sequences_grow_lie_behind_the_offset_and_are_never_lower_than_told(
    offset: int, told: list[int]
) -> None:
    due = placed(offset, *told)
    places = [offset, *[one.sequence for one in due]]
    assert all(one < other for one, other in pairwise(places))
    assert all(one.sequence >= one.entry_sequence for one in due)


def test_only_moved_bids_are_recorded_as_rewound(recorded: Recorded) -> None:
    rewind.report_rewind(NO_DATABASE, SESSION_ID, 5, placed(5, 4, 9))
    assert recorded == [(Incident.REDIS_REWOUND, {"persisted_sequence": 5, "moved": {"4-0": 6}})]


def test_without_a_rewind_none_is_recorded(recorded: Recorded) -> None:
    rewind.report_rewind(NO_DATABASE, SESSION_ID, 3, placed(3, 4, 5))
    assert recorded == []


@pytest.mark.parametrize(
    ("offset", "told", "gaps"),
    [
        pytest.param(3, [4, 5], [], id="none"),
        pytest.param(3, [5, 6], [(4, 4, None)], id="in front"),
        pytest.param(3, [4, 8], [(5, 7, None)], id="inside"),
        pytest.param(3, [6, 9], [(4, 5, None), (7, 8, None)], id="both"),
        pytest.param(9, [3, 5], [(4, 4, 10)], id="whose sequence another bid has got"),
        pytest.param(9, [3, 20], [(4, 19, 10)], id="of which another bid has got some"),
    ],
)
def test_sequences_told_that_no_entry_has_are_recorded(
    recorded: Recorded, offset: int, told: list[int], gaps: list[tuple[int, int, int | None]]
) -> None:
    rewind.report_gaps(NO_DATABASE, SESSION_ID, offset, placed(offset, *told))
    assert {kind for kind, _ in recorded} <= {Incident.BID_LOG_GAP}
    assert [
        (gap["first_missing"], gap["last_missing"], gap.get("taken_through")) for _, gap in recorded
    ] == gaps


@pytest.mark.parametrize(
    ("kind", "details", "lost"),
    [
        (Incident.BID_LOG_GAP, {"first_missing": 4, "last_missing": 6}, (4, 6)),
        (Incident.BID_LOG_GAP, {"first_missing": 4, "last_missing": 6, "taken_through": 5}, (6, 6)),
        (Incident.BID_LOG_GAP, {"first_missing": 4, "last_missing": 6, "taken_through": 6}, None),
        (Incident.ENTRY_SET_ASIDE, {"id": "7-0", "sequence": 9}, (9, 9)),
        (Incident.ENTRY_SET_ASIDE, {"id": "7-0"}, (7, 7)),
        (Incident.REDIS_LOST, {"persisted_sequence": 3, "next_sequence": 8}, (4, 7)),
        (Incident.REDIS_REWOUND, {"persisted_sequence": 3, "moved": {}}, None),
    ],
)
def test_an_event_says_which_sequences_stand_in_no_row(
    kind: Incident, details: dict[str, Any], lost: tuple[int, int] | None
) -> None:
    found = _loss(SessionEvent(session_id=SESSION_ID, kind=kind.value, details=details))
    assert found == (lost and Loss(*lost, kind.value))


def test_a_loss_holds_both_its_ends() -> None:
    loss = Loss(4, 6, "bid_log_gap")
    assert [sequence in loss for sequence in (3, 4, 6, 7)] == [False, True, True, False]
