"""Whose turn it is, who holds what, and what the files keep: without processes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from daemon.frame_cache import FrameCache
from daemon.schedule import QueueFull, Schedule
from daemon.store import Job, Store
from visualdub.errors import BadInput


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    return Schedule(Store(tmp_path / "jobs.sqlite"), limit=10, crashes=3)


def add(schedule: Schedule, client: str, name: str, priority: int = 0) -> Job:
    return schedule.add("dub", client, name, {"output": f"/{name}"}, priority=priority)[0]


def test_clients_have_their_turn_one_after_another(schedule: Schedule) -> None:
    """One client's four jobs do not keep the others waiting."""
    for name in "abcd":
        add(schedule, "greedy", name)
    add(schedule, "modest", "m")
    add(schedule, "third", "t")
    order = []
    for _ in range(6):
        job = schedule.take()
        assert job is not None
        schedule.lease(job)
        order.append(job.client)
    assert order == ["greedy", "modest", "third", "greedy", "greedy", "greedy"]


def test_work_that_was_done_for_a_client_counts(schedule: Schedule) -> None:
    first, second, other = add(schedule, "a", "1"), add(schedule, "a", "2"), add(schedule, "b", "3")
    schedule.lease(first).since -= 10
    schedule.finish(first, {})
    assert schedule.take() is other and second.state == "queued"


def test_priority_comes_before_fairness(schedule: Schedule) -> None:
    add(schedule, "a", "1")
    urgent = add(schedule, "a", "2", priority=5)
    assert schedule.take() is urgent


def test_a_full_queue(schedule: Schedule) -> None:
    for number in range(10):
        add(schedule, "a", str(number))
    with pytest.raises(QueueFull, match="10 jobs are queued"):
        add(schedule, "a", "11")


# ---- leases ------------------------------------------------------------------------------------------------


def test_a_late_report_of_a_worker_that_lost_its_job_is_refused(schedule: Schedule) -> None:
    job = add(schedule, "a", "1")
    old = schedule.lease(job)
    assert schedule.holder(old, old.token) is job
    schedule.lost(job, "status -9")
    new = schedule.lease(job)
    assert new.token > old.token
    assert schedule.holder(old, old.token) is None  # it reports under its own lease, which is over
    assert schedule.holder(old, new.token) is None  # it names somebody else's
    assert schedule.holder(None, new.token) is None
    assert schedule.holder(new, new.token) is job
    schedule.finish(job, {})
    assert schedule.holder(new, new.token) is None  # and nobody reports twice


def test_leases_of_an_earlier_service_are_over(tmp_path: Path) -> None:
    first = Schedule(Store(tmp_path / "j.sqlite"), 10, 3)
    job = add(first, "a", "1")
    old = first.lease(job)
    second = Schedule(Store(tmp_path / "j.sqlite"), 10, 3)
    again = second.jobs[job.id]
    assert again.state == "queued" and again.request == {"output": "/1"}
    assert second.lease(again).token > old.token and second.holder(old, old.token) is None


def test_chunks_are_kept_and_reset_the_count_of_deaths(schedule: Schedule) -> None:
    job = add(schedule, "a", "1")
    for _ in range(2):
        lease = schedule.lease(job)
        schedule.lost(job, "status -9")
    assert job.crashes == 2
    lease = schedule.lease(job)
    schedule.chunk(job, 0, lease.token)
    schedule.chunk(job, 1, lease.token)
    schedule.lost(job, "status -9")
    assert (job.state, job.crashes) == ("queued", 1)
    assert schedule.store.chunks(job.id) == {0: lease.token, 1: lease.token}


def test_later_chunks_of_a_dub_are_given_to_who_has_nothing_to_do(schedule: Schedule) -> None:
    job = add(schedule, "a", "1")
    assert schedule.take_chunk(24) is None  # nobody has it
    schedule.lease(job)
    assert schedule.take_chunk(24) is None  # it is not being drawn yet
    job.stage, job.done, job.total = "rendering", 30, 24 * 6 + 1
    taken = [schedule.take_chunk(24) for _ in range(5)]
    assert [t.chunk if t else None for t in taken] == [6, 5, 4, 3, None]  # 1 is at hand, 2 is next
    last = taken[0]
    assert last is not None and schedule.holder(last, last.token) is job
    schedule.give_back(last)  # its worker was seen dead
    again = schedule.take_chunk(24)
    assert again is not None and again.chunk == 6 and again.token > last.token
    assert schedule.holder(last, last.token) is None  # a late report of the dead one is refused
    schedule.chunk(job, 6, again.token)
    schedule.give_back(again)
    assert schedule.take_chunk(24) is None  # it is whole
    schedule.finish(job, {})
    other = taken[1]
    assert other is not None and schedule.holder(other, other.token) is None


def test_a_paused_job_goes_on_after_a_while(schedule: Schedule) -> None:
    job = add(schedule, "a", "1")
    schedule.lease(job)
    schedule.pause(job, "the disk is full")
    assert schedule.take() is None and (job.state, job.reason) == ("paused", "the disk is full")
    job.retry_at = time.monotonic()
    assert schedule.take() is job


def test_a_cancelled_job_that_is_held_ends_with_its_worker(schedule: Schedule) -> None:
    job = add(schedule, "a", "1")
    lease = schedule.lease(job)
    assert schedule.cancel(job) is lease and job.state == "running"
    schedule.lost(job, "status -9")
    assert job.state == "cancelled" and schedule.take() is None


def test_what_is_asked_for_again_after_a_cancellation_is_a_new_job(schedule: Schedule) -> None:
    """It has its turn once the worker of the cancelled one has let go of the files."""
    job = add(schedule, "a", "1")
    schedule.lease(job)
    assert schedule.cancel(job) is not None
    again = add(schedule, "a", "1")
    assert again.id != job.id and schedule.take() is None
    schedule.end(job, "cancelled", "cancelled")
    assert schedule.take() is again


def test_a_file_that_is_none_of_jobs(tmp_path: Path) -> None:
    (tmp_path / "j.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(BadInput, match="is no file of jobs"):
        Store(tmp_path / "j.sqlite")
    store = Store(tmp_path / "k.sqlite")
    store.set_fact("schema", 99)
    with pytest.raises(BadInput, match="has schema 99"):
        Store(tmp_path / "k.sqlite")


# ---- the cache ---------------------------------------------------------------------------------------------

KEY = "ab" * 16


def test_an_entry_comes_back_as_it_was_put(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path / "c", 1 << 20)
    arrays = (np.arange(12, dtype=np.uint16).reshape(3, 4), np.zeros((0, 5), np.uint8), np.float32([0.1, 2]))
    put = cache.put(KEY, {"box": [1, 2, 3, 4], "draw": 0.1}, arrays)
    got = cache.get(KEY)
    assert got is not None and got.head == {"box": [1, 2, 3, 4], "draw": 0.1}
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(got.arrays, arrays, strict=True))
    assert got.offset == put.offset
    assert put.path.read_bytes()[put.offset :] == b"".join(a.tobytes() for a in arrays)
    assert put.path.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("at", [0, 8, 30, -1])
def test_a_damaged_entry_is_not_there(tmp_path: Path, at: int) -> None:
    cache = FrameCache(tmp_path / "c", 1 << 20)
    path = cache.put(KEY, {}, [np.arange(9)]).path
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    assert cache.get(KEY) is None and not cache.has(KEY)


@pytest.mark.parametrize("length", [0, 7, 20, 60])
def test_a_truncated_entry_is_not_there(tmp_path: Path, length: int) -> None:
    cache = FrameCache(tmp_path / "c", 1 << 20)
    path = cache.put(KEY, {}, [np.arange(9)]).path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:length])
    assert cache.get(KEY) is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    import os

    cache = FrameCache(tmp_path / "c", 10_000)
    keys = [f"{n:02x}" * 16 for n in range(8)]
    for age, key in enumerate(keys):
        path = cache.put(key, {}, [np.zeros(2000, np.uint8)]).path
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.get(keys[0]) is not None  # it was used just now
    cache.evict()
    assert cache.size() <= 9000
    assert [cache.has(k) for k in keys] == [True, False, False, False, False, True, True, True]


def test_a_full_disk_makes_room_in_the_cache(tmp_path: Path) -> None:
    from daemon_helpers import small_disk

    with small_disk(tmp_path / "disk", "size=200k") as folder:
        cache = FrameCache(folder / "c", 1 << 30)
        for n in range(40):
            cache.put(f"{n:02x}" * 16, {}, [np.full(20_000, n, np.uint8)])
        last = cache.get(f"{39:02x}" * 16)
        assert last is not None and int(last.arrays[0][0]) == 39
        assert not list(folder.rglob("*.partial"))


def test_jobs_that_ended_long_ago_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    schedule = Schedule(store, limit=10, crashes=3)
    old, waiting, recent = (add(schedule, "a", name) for name in "123")
    for job in (old, recent):
        schedule.chunk(job, 0, 1)
        schedule.finish(job, {})
    for job in (old, waiting, recent):
        store._db.execute("UPDATE jobs SET created = 1000 WHERE id = ?", (job.id,))
    old.ended = 2000.0
    store.save(old)
    assert store.prune(3000.0) == [old.id]
    assert [j.id for j in store.newest(10)] == [recent.id, waiting.id]
    assert store.chunks(old.id) == {} and store.chunks(recent.id) == {0: 1}
