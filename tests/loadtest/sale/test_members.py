"""Members made in bulk for load tests."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from core.errors import InvalidCredentials
from loadtest.errors import LoadTestError
from loadtest.sale import members
from loadtest.sale.members import MemberToken
from tests.loadtest.conftest import Server
from tests.support.factories import PASSWORD, Shop


def seed(app: Flask, count: int, path: Path) -> Result:
    # The `flask` program gives its commands this context.
    with app.app_context():
        return app.test_cli_runner().invoke(
            args=["seed-members", str(count), "--tokens", str(path)]
        )


@pytest.fixture
def tokens(app: Flask, shop: Shop, tmp_path: Path) -> Path:
    path = tmp_path / "tokens.jsonl"
    assert seed(app, 3, path).exit_code == 0
    return path


def test_the_tokens_are_good(tokens: Path, server: Server) -> None:
    everybody = members.read_tokens(tokens, 3)
    assert len({member.user_id for member in everybody}) == 3
    members.check_tokens(server.host, everybody)


def test_nobody_else_may_read_the_tokens(app: Flask, shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    path.touch(mode=0o644)
    assert seed(app, 1, path).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_can_log_in_to_seeded_members(tokens: Path, shop: Shop) -> None:
    line = json.loads(tokens.read_text().splitlines()[0])
    assert set(line) == {"user_id", "username", "token"}
    with pytest.raises(InvalidCredentials):
        shop.services.accounts.authenticate(line["username"], PASSWORD)


def test_seeded_members_are_never_admins(tokens: Path, shop: Shop) -> None:
    assert shop.rows("SELECT count(*) FROM users WHERE is_admin") == [(0,)]


def test_thousands_of_members_cost_one_hash(shop: Shop) -> None:
    shop.services.accounts.seed(2000)
    hashes = "SELECT count(*), count(DISTINCT password_hash) FROM users"
    assert shop.rows(hashes) == [(2000, 1)]


def test_seeding_twice_gives_other_members(app: Flask, tokens: Path, tmp_path: Path) -> None:
    assert seed(app, 3, tmp_path / "more.jsonl").exit_code == 0
    first, second = (members.read_tokens(p, 3) for p in (tokens, tmp_path / "more.jsonl"))
    assert not {m.user_id for m in first} & {m.user_id for m in second}


def test_a_file_that_cannot_be_written_makes_no_members(
    app: Flask, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = seed(app, 3, tmp_path / "file" / "tokens.jsonl")
    assert result.exit_code == 1
    assert "Cannot write" in result.output
    assert shop.rows("SELECT count(*) FROM users") == [(0,)]


def test_too_few_members_are_refused_in_a_sentence(tokens: Path) -> None:
    with pytest.raises(LoadTestError, match="has 3 members, but 4 are needed"):
        members.read_tokens(tokens, 4)


def test_tokens_of_another_installation_are_refused_in_a_sentence(server: Server) -> None:
    with pytest.raises(LoadTestError, match="Seed new members"):
        members.check_tokens(server.host, [MemberToken("x", "not.a.token")])


def test_a_member_is_no_admin(tokens: Path, server: Server) -> None:
    [member] = members.read_tokens(tokens, 1)
    with pytest.raises(LoadTestError, match="not an admin"):
        members.admin_token(server.host, member.token)


def test_the_first_account_can_be_registered_as_admin(server: Server, shop: Shop) -> None:
    token = members.admin_token(server.host, name="boss", password="boss password")
    assert members.admin_token(server.host, name="boss", password="boss password")
    assert members.admin_token(server.host, token)
