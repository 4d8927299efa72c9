"""What a namespace asks of new jobs: seats that can be had (S5), a tenant (Q26)."""

from __future__ import annotations

import logging

import pytest
from harness.server import RealServer

from seatline.producer import Job, Queue
from seatline.shared.errors import InvalidInput, PartialEnqueue, SeatsLacking, TenantRequired


@pytest.fixture
def strict(server: RealServer, namespace: str) -> Queue:
    return Queue(server.url, namespace=namespace, strict=True)


def waiting(queue: Queue) -> int:
    return sum(1 for _ in queue.jobs())


@pytest.mark.parametrize(
    ("uses", "said"),
    [
        ({"vault": 3}, "pool vault: 3 seats are needed, its capacity is 2"),
        ({"gpu": 1}, "pool gpu: 1 seats are needed, there is no such pool"),
        ({"vault": 1, "gpu": 1}, "pool gpu"),
    ],
)
def test_s5_strict_refuses_what_could_never_start(strict: Queue, uses: dict[str, int], said: str) -> None:
    """S5: refused at enqueue, naming the pool, what is needed, what there is; nothing is stored."""
    strict.pools.set("vault", 2)
    with pytest.raises(SeatsLacking, match=said) as caught:
        strict.enqueue("a", uses=uses)
    assert "seatline pools set" in str(caught.value)
    assert waiting(strict) == 0
    strict.enqueue("a", uses={"vault": 2})
    strict.enqueue("a", uses={})
    assert waiting(strict) == 2


def test_s5_strict_refuses_a_batch_whole(strict: Queue) -> None:
    """S5: one job of a batch that could never start keeps out its batch; what came before stays."""
    strict.pools.set("vault", 1)
    jobs = [Job("a", uses={"vault": 1}) for _ in range(1500)]
    jobs[1200].uses = {"vault": 2}
    with pytest.raises(PartialEnqueue) as caught:
        strict.enqueue_many(jobs)
    assert isinstance(caught.value.cause, SeatsLacking)
    assert caught.value.index == waiting(strict) == 1000


def test_s5_otherwise_a_warning_is_said_once(
    server: RealServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S5: accepted, with a warning (once a pool and need, not once a job), and flagged."""
    queue = Queue(server.url, namespace=namespace)
    with caplog.at_level(logging.WARNING, "seatline.producer"):
        queue.enqueue_many(Job("a", uses={"gpu": 2}) for _ in range(3000))
        handle = queue.enqueue("a", uses={"gpu": 2})
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["pool gpu"]
    assert "no-pool" in {obstacle.reason for obstacle in handle.why()}


def test_q26_a_namespace_may_require_a_tenant(server: RealServer, namespace: str) -> None:
    """Q26: once required, a job without a tenant is refused, one with a tenant is taken; lifted, both are."""
    queue = Queue(server.url, namespace=namespace)
    assert queue.require_tenant()
    assert not queue.require_tenant()
    with pytest.raises(TenantRequired, match="--tenant"):
        queue.enqueue("a", {"tenant": "not this one"})
    with pytest.raises(TenantRequired):
        queue.enqueue_many([Job("a", tenant="north"), Job("a")])
    assert waiting(queue) == 0
    queue.enqueue("a", tenant="north")
    Queue(server.url, namespace=namespace, tenant="south").enqueue("a")
    assert sorted(job.tenant or "" for job in queue.jobs()) == ["north", "south"]
    assert queue.require_tenant(required=False)
    queue.enqueue("a")
    assert waiting(queue) == 3


def test_q26_a_tenant_is_a_name(server: RealServer, namespace: str) -> None:
    """Q26: what is no name is refused before anything is sent."""
    with pytest.raises(InvalidInput, match="tenant"):
        Queue(server.url, namespace=namespace).enqueue("a", tenant="no such/name")
