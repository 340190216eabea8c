"""What a member sends is what the API reads."""

from decimal import Decimal
from uuid import UUID

import pytest

from loadtest.sale.members import MemberToken
from loadtest.traffic.sending import bid_request
from web.http.fast_json import read_bid

SESSION = UUID(int=7)


@pytest.mark.parametrize("only_if_better", [False, True])
def test_a_bid_asks_to_be_better_only_when_its_member_does(only_if_better: bool) -> None:
    price, member = Decimal("150.25"), MemberToken("user", "token")
    body, _ = bid_request(str(SESSION), member, price, only_if_better=only_if_better)
    assert read_bid(body.encode()) == (SESSION, price, only_if_better)
