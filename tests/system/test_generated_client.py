"""A whole sale through a Python client that is generated from the served OpenAPI document.

Nothing here knows an address or a field but by the generated names.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dev.stack import Stack, wait_until
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client

PACKAGE = "flashbid_generated_client"
TIMEOUT_SECONDS = 15


class Generated:
    """The generated package, and clients of it."""

    def __init__(self, port: int) -> None:
        self.models = importlib.import_module(f"{PACKAGE}.models")
        self._package = importlib.import_module(PACKAGE)
        self._options = {"base_url": f"http://127.0.0.1:{port}", "timeout": TIMEOUT_SECONDS}

    def call(self, operation: str, *path: Any, token: str = "", **arguments: Any) -> Any:
        """The parsed answer of an operation, such as `bidding.place_bid`."""
        kind = self._package.AuthenticatedClient if token else self._package.Client
        client = kind(**self._options, **({"token": token} if token else {}))
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        with client:
            return module.sync(*path, client=client, **arguments)

    def account(self, name: str, password: str) -> Any:
        """Register, and log in as well."""
        registration = self.models.Registration(name, f"{name}@example.com", password)
        registered = self.call("auth.register", body=registration)
        assert isinstance(registered, self.models.AccountWithToken), registered
        return self.call("auth.login", body=self.models.Login(name, password))


@pytest.fixture
def generated(
    stack: Stack, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generated:
    document, config = tmp_path / "openapi.json", tmp_path / "config.yaml"
    document.write_bytes(client.get("/openapi.json").body)
    # By default it formats what it has written, with programs from the path.
    config.write_text("post_hooks: []\n")
    made = subprocess.run(  # noqa: S603 - our own arguments
        [
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", str(document), "--config", str(config), "--meta", "none"),
            *("--output-path", str(tmp_path / PACKAGE), "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    return Generated(stack.port)


def test_a_generated_client_runs_a_sale(empty_shop: None, generated: Generated) -> None:
    models, call = generated.models, generated.call
    admin = generated.account("ada", "a long phrase of ada")
    assert admin.is_admin
    terms = models.NewProductAndSession(upset_price=19.99, inventory=1, name="Camera")
    session = call("admin.add_product_and_session", token=admin.token, body=terms)
    assert (session.status, session.upset_price) == (models.SessionStatus.ACTIVE, 19.99)
    product = call("admin.products", token=admin.token)[0]
    assert product.id == product.product_id == session.product_id

    bob = generated.account("bob", "a long phrase of bob")
    assert call("auth.me", token=bob.token).username == "bob"
    placed = call(
        "bidding.place_bid", token=bob.token, body=models.BidRequest(session.session_id, 20.07)
    )
    assert (placed.status, placed.price, placed.rank) == (
        models.PlacedBidStatus.ACCEPTED,
        20.07,
        1,
    )

    board = call("bidding.leaderboard", session.session_id)
    assert [(entry.username, entry.price) for entry in board.leaderboard] == [("bob", 20.07)]
    mine = call("bidding.own_standing", session.session_id, token=bob.token)
    assert (mine.rank, mine.is_winner, mine.score) == (1, True, placed.score)
    assert isinstance(call("bidding.results", session.session_id), models.Problem)

    call("admin.close", session.session_id, token=admin.token)
    results = final_results(lambda: call("bidding.results", session.session_id), models.Results)
    assert [winner.username for winner in results.winners] == ["bob"]
    assert (results.status, results.final_price) == (models.ResultsStatus.ENDED, 20.07)
    own = call("bidding.own_bids", token=bob.token, session_id=session.session_id)
    assert [bid.price for bid in own] == [20.07]


def test_a_generated_client_reads_errors(empty_shop: None, generated: Generated) -> None:
    models, call = generated.models, generated.call
    bob = generated.account("bob", "a long phrase of bob")
    refused = call("bidding.place_bid", token=bob.token, body=models.BidRequest(bob.user_id, 1.001))
    assert isinstance(refused, models.Problem)
    assert (refused.status, refused.code) == (422, "validation_failed")
    assert refused.detail == "price: Must have at most 2 decimals."
    assert call("bidding.session", bob.user_id).code == "session_not_found"
    assert call("live.watch", bob.user_id).code == "upgrade_required"


def final_results(read: Callable[[], Any], kind: type) -> Any:
    found: list[Any] = []

    def are_final() -> bool:
        found.append(read())
        return isinstance(found[-1], kind)

    assert wait_until(are_final, RESULTS_TIMEOUT_SECONDS), found[-1]
    return found[-1]
