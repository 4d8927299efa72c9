"""The state of the model and the state of the server in one form, so that a difference can be read."""

from __future__ import annotations

import re
from typing import Any

from model.model import ENDED, Model

__all__ = ["claims_of_server", "difference", "of_model", "of_server"]

WAITING = ("ready", "scheduled")


def difference(model: dict[str, Any], server: dict[str, Any]) -> list[str]:
    """Return a line for each thing that differs, none when all is equal."""
    lines = []
    for name in sorted({*model, *server}):
        mine, theirs = model.get(name), server.get(name)
        if mine == theirs:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict):
            lines += [
                f"{name} {key}: expected {mine.get(key)}, the server has {theirs.get(key)}"
                for key in sorted({*mine, *theirs}, key=str)
                if mine.get(key) != theirs.get(key)
            ]
        else:
            lines.append(f"{name}: expected {mine}, the server has {theirs}")
    return lines


def of_model(model: Model) -> dict[str, Any]:
    places: dict[str, dict[str, int]] = {}
    jobs: dict[str, Any] = {}
    for job in model.jobs.values():
        said: dict[str, Any] = {"state": job.state, "type": job.type, "priority": job.priority, "uses": job.uses}
        said |= {"attempt": job.attempt, "losses": job.losses, "cancel": job.cancel}
        said |= {"listeners": sorted(job.listeners), "error": job.error, "expires": job.expires}
        if job.state == "running":
            said |= {"token": job.token, "worker": job.worker, "if_lost": job.if_lost, "seats": job.seats}
        jobs[job.id] = said
        place, score = {
            "ready": (f"ready:{job.type}" + (f"|{job.uses}" if job.uses is not None else ""), job.priority),
            "scheduled": ("scheduled", job.due),
            "running": ("running", job.deadline),
        }.get(job.state, (f"finished:{job.state}", job.finished))
        places.setdefault(place, {})[job.id] = score
    pools = {}
    for name, pool in model.pools.items():
        programs = {m: s for m, s in pool.waiting.items() if pool.callers.get(m, 0) >= model.clock}
        pools[name] = {"sessions": pool.sessions, "programs": programs, "capacity": pool.capacity}
    return {
        "seq": model.seq,
        "places": places,
        "jobs": jobs,
        "pools": pools,
        "programs": {f"{pool}|{member}": end for (pool, member), end in model.programs.items()},
        "idle": {(offer, name) for offer, idle in model.idle.items() for name in idle if model.waits(name)},
        "tokens": {token: job_id for token, (job_id, _) in model.tokens.items()},
        "counts": {"removed": model.removed, "trimmed": model.trimmed},
        "attempts": {job.id: job.attempts for job in model.jobs.values() if job.attempts},
        "expiring": {job.id: job.expires for job in model.jobs.values() if job.expires and job.state in WAITING},
    }


def of_server(read: dict[str, Any], model: Model) -> dict[str, Any]:
    """Bring what `Real.read` returned into the same form; of the model only clock and presence are used."""
    places = {name: zset for name, zset in read.items() if _is_place(name)}
    jobs = {name[4:]: _job(hash_) for name, hash_ in read.items() if name.startswith("job:") and name.count(":") == 1}
    pools = {}
    for name in read.get("pools", []):
        sessions = read.get(f"pool:{name}:sessions", {})
        held = sum(int(member.rpartition("|")[2]) for member in sessions)
        counter = read.get(f"pool:{name}:in_use")
        callers = read.get(f"pool:{name}:callers", {})
        programs = {m: s for m, s in read.get(f"pool:{name}:waiting", {}).items() if callers.get(m, 0) >= model.clock}
        pools[name] = {"sessions": sessions, "programs": programs, "capacity": int(read[f"pool:{name}"]["capacity"])}
        if counter is not None and int(counter) != held:
            pools[name]["in_use"] = f"{counter}, and its sessions hold {held}"
    about = read["about"]
    return {
        "seq": int(read.get("seq", 0)),
        "places": places,
        "jobs": jobs,
        "pools": pools,
        "programs": read.get("programs", {}),
        "idle": {
            (name[5:], worker)
            for name, idle in read.items()
            if name.startswith("idle:")
            for worker in idle
            if model.waits(worker)
        },
        "tokens": {name[6:]: value.split()[0] for name, value in read.items() if name.startswith("token:")},
        "counts": {count: int(about.get(count, 0)) for count in ("removed", "trimmed")},
        "attempts": {
            name.split(":")[1]: _attempts(kept, name, model) for name, kept in read.items() if ":attempts" in name
        },
        # Those of jobs that have started or ended stay there until they come up.
        "expiring": {
            i: ms
            for i, ms in read.get("expiring", {}).items()
            if jobs.get(i, {}).get("state") in WAITING and jobs[i]["expires"]
        },
    }


def _attempts(kept: list[str], name: str, model: Model) -> list[str]:
    """Return a job's attempts; of those that a resubmission has written the text is not compared."""
    job = model.jobs.get(name.split(":")[1])
    mine = job.attempts if job and len(job.attempts) == len(kept) else [""] * len(kept)
    told = [re.sub(r" from \d+: ", ": ", theirs, count=1) for theirs in kept]  # when it began
    return ["?" if expected == "?" else theirs for expected, theirs in zip(mine, told, strict=True)]


def _is_place(name: str) -> bool:
    return name in {"scheduled", "running"} or name.startswith("ready:") or name.removeprefix("finished:") in ENDED


def _job(said: dict[str, str]) -> dict[str, Any]:
    job: dict[str, Any] = {"state": said["state"], "type": said["type"], "priority": int(said["priority"])}
    job["uses"] = said.get("uses")
    job |= {"attempt": int(said.get("attempt", 0)), "losses": int(said.get("losses", 0)), "cancel": "cancel" in said}
    job |= {"error": "error" in said, "expires": int(said.get("expires", 0))}
    job["listeners"] = sorted(said.get("listeners", "").split())
    if said["state"] == "running":
        job |= {name: said.get(name) for name in ("token", "worker", "if_lost")} | {"seats": said.get("seats", "none")}
    return job


def claims_of_server(read: dict[str, Any], model: Model) -> dict[str, dict[str, int]]:
    """Return the claims of jobs in each pool's line; one whose job waits no more is dropped when it is next looked at."""
    ready = {job.id for job in model.jobs.values() if job.state == "ready"}
    return {
        name: {member: score for member, score in read.get(f"pool:{name}:waiting", {}).items() if member in ready}
        for name in model.pools
    }
