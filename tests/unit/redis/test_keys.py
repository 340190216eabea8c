"""Names of Redis keys: on a cluster, a script may touch one slot only."""

import inspect
import re
from uuid import uuid4

from redis.crc import key_slot

from core.config import PROJECT_ROOT
from core.redis import keys

SESSION, USER = uuid4(), uuid4()


def test_all_keys_of_a_session_share_one_hash_tag() -> None:
    names = [
        keys.session_params(SESSION),
        keys.ranking(SESSION),
        keys.standing_prices(SESSION),
        keys.standing_bid(SESSION, USER),
        keys.bid_log(SESSION),
        keys.session_load(SESSION),
        keys.close_claim(SESSION),
    ]
    assert {re.search(r"\{(.+?)\}", name)[1] for name in names} == {str(SESSION)}
    assert len(set(names)) == len(names)


def test_a_standing_bid_is_found_by_the_sessions_prefix() -> None:
    assert keys.standing_bid(SESSION, USER) == f"{keys.standing_bid_prefix(SESSION)}{USER}"


def test_a_key_is_the_same_for_an_id_and_its_text() -> None:
    assert keys.bid_log(SESSION) == keys.bid_log(str(SESSION))


def test_all_that_a_bid_on_a_cluster_touches_shares_a_slot() -> None:
    session_id, user_id = uuid4(), uuid4()
    names = [
        keys.session_params(session_id),
        keys.ranking(session_id),
        keys.standing_prices(session_id),
        keys.standing_bid(session_id, user_id),
        keys.bid_log(session_id),
        keys.revoked_tokens(session_id),
        keys.replication_mark(keys.bid_log(session_id)),
    ]
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert key_slot(keys.replication_mark("plain").encode()) == key_slot(b"plain")


def test_every_key_is_in_the_table_of_the_documentation() -> None:
    placeholders = {"session_id": "sid", "user_id": "uid", "key": "{sid}", "export_id": "eid"}
    makers = [
        maker
        for name, maker in inspect.getmembers(keys, inspect.isfunction)
        if not name.endswith("_prefix")
    ]
    names = {
        maker(*(placeholders[parameter] for parameter in inspect.signature(maker).parameters))
        for maker in makers
    }
    text = (PROJECT_ROOT / "docs" / "explanation" / "architecture.md").read_text()
    table = text.partition("| key | type | holds |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))
    singles = (keys.REVOKED_TOKENS, keys.LOADED_SESSIONS, keys.SETTLING_ACCOUNTS, keys.ARCHIVING)
    assert documented == names | set(singles)
