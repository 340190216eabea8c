"""What carries calls to Redis, by configuration. Nothing here connects."""

from dataclasses import replace

import pytest

from core.bootstrap import bootstrap
from core.config import load_settings
from core.redis.calls import Calls, ClusterCalls


@pytest.mark.parametrize(("addresses", "kind"), [((), Calls), ((("127.0.0.1", 1),), ClusterCalls)])
def test_each_node_of_a_cluster_is_called_for_its_own_sessions(
    addresses: tuple[tuple[str, int], ...], kind: type
) -> None:
    """One that is away would hold up, or fail, what is asked of the others."""
    settings = replace(load_settings({"DEBUG": "true"}), redis_cluster=addresses)
    services = bootstrap(settings)
    assert type(services.bidding._calls) is kind
    assert type(services.board._calls) is kind
