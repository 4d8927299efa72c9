"""A look at all orders of a namespace in one step: do orders, chains and jobs agree on where each order is (O2, O8)?"""

from __future__ import annotations

from typing import Any, Final, cast

from redis import Redis

__all__ = ["disagreements"]

LOOK: Final = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local name = string.sub(key, #ARGV[1] + 1)
  local kind = string.match(name, '^[^:]+')
  if kind == 'order' or kind == 'orders' or kind == 'chain' or kind == 'job' then
    local type = redis.call('TYPE', key).ok
    local value = type == 'hash' and redis.call('HGETALL', key) or {}
    if type == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
    out[#out + 1] = {name, type, value}
  end
end
return out
"""
LIVE: Final = ("scheduled", "waiting", "running", "suspended")
WAITING: Final = ("ready", "scheduled")

Texts = dict[str, str]


def disagreements(redis: Redis, namespace: str) -> list[str]:
    """Return a line for everything that does not fit; nothing of it may ever be seen, at whatever moment."""
    look = _Look(cast("list[list[Any]]", redis.eval(LOOK, 0, f"{{{namespace}}}:")))
    return [*look.orders(), *look.chains(), *look.jobs(), *look.parts()]


class _Look:
    def __init__(self, found: list[list[Any]]) -> None:
        self.keys: dict[str, Texts] = {}
        for raw, _, flat in found:
            texts = [word.decode("utf-8", "replace") for word in flat]
            self.keys[raw.decode()] = dict(zip(texts[::2], texts[1::2], strict=True))
        self.records = {name.split(":")[1]: texts for name, texts in self.keys.items() if _parts(name) == ("order", 2)}
        self.now = {order: _pairs(texts.get("now", "")) for order, texts in self.records.items()}

    def of(self, name: str) -> Texts:
        return self.keys.get(name, {})

    def job(self, job_id: str) -> Texts:
        return self.of(f"job:{job_id}")

    def orders(self) -> list[str]:
        """Each is where its state says, and nowhere else; its steps under way are jobs that know it."""
        wrong: list[str] = []
        for order, texts in self.records.items():
            state, chain, mark = texts["state"], f"chain:{texts['chain']}", f"{texts['number']} {order}"
            stands = {
                name: members[order]
                for name, members in self.keys.items()
                if name.startswith("orders:") and order in members
            }
            score = texts["number"] if state in LIVE else texts.get("finished", "no moment")
            if stands != {f"orders:{state}": str(int(score)) if score.isdigit() else score}:
                wrong.append(f"order {order} is {state} ({score}) and stands in {stands}")
            entered, waits = order in self.of(f"{chain}:started"), mark in self.of(f"{chain}:waiting")
            if entered and state not in {"running", "suspended"}:
                wrong.append(f"order {order} is {state} and counts as started")
            if state == "running" and not entered:
                wrong.append(f"order {order} is running and does not count as started")
            if waits != (state == "waiting"):
                wrong.append(
                    f"order {order} is {state} and {'stands' if waits else 'does not stand'} in front of its chain"
                )
            wrong += [f"order {order} ({state}): {line}" for line in self._steps(order, texts)]
        for name, members in self.keys.items():
            if name.startswith("orders:"):
                wrong += [f"{name} has {order}, which is no more" for order in members if order not in self.records]
        return wrong

    def _steps(self, order: str, texts: Texts) -> list[str]:
        state, ended, now = texts["state"], texts.get("ended", "").split(), self.now[order]
        wrong: list[str] = []
        if state in {"succeeded", "cancelled"} and now:
            wrong.append(f"it has ended and is at {now}")
        if state == "failed" and "failed" not in now.values():
            wrong.append(f"it is at {now}, nowhere failed")
        if state == "running" and not now:
            wrong.append("it is nowhere")
        if len(set(ended)) < len(ended) or set(ended) & set(now):
            wrong.append(f"it is at {now}, and ended are {ended}")
        if more := {
            name.removeprefix("out.") for name in self.of(f"order:{order}:data") if name.startswith("out.")
        } - set(ended):
            wrong.append(f"it has outputs of {more}, which have not ended")
        under_way = False
        for step, word in now.items():
            jobs = [word] if word.isdigit() else list(self.of(f"order:{order}:each:{step}:jobs"))
            for job_id in jobs:
                job = self.job(job_id)
                told = (job.get("order"), job.get("step"), job.get("state"))
                under_way = under_way or told[2] == "running" or word == "each"
                if told[:2] != (order, step) or told[2] not in {*WAITING, "running"}:
                    wrong.append(f"at {step} its job {job_id} says {told}")
                if (
                    word.isdigit()
                    and told[2] in WAITING
                    and (state not in {"running", "scheduled"} or "leaving" in texts)
                ):
                    wrong.append(f"at {step} its job {job_id} is {told[2]} and might begin")
            if word.startswith("held") and state == "running" and "leaving" not in texts:
                line = self.of(f"chain:{texts['chain']}:held:{step}")
                if f"{texts['number']} {order}" not in line:
                    wrong.append(f"it waits in front of {step}, and nobody knows")
        if "leaving" in texts and not under_way:
            wrong.append(f"it is leaving ({texts['leaving']}) and nothing is under way")
        return wrong

    def chains(self) -> list[str]:
        """What stands in front of a chain or a step is an order that says so; versions know how many have them."""
        wrong: list[str] = []
        for name, members in self.keys.items():
            words = name.split(":")
            if words[0] != "chain" or len(words) == 2:
                continue
            if words[2] == "held":
                for mark in members:
                    order = mark.partition(" ")[2]
                    if not self.now.get(order, {}).get(words[3], "").startswith("held"):
                        wrong.append(f"{name} has {order}, which is at {self.now.get(order)}")
            elif words[2] == "started":
                wrong += [f"{name} has {order}, which is no more" for order in members if order not in self.records]
            elif words[2] == "waiting":
                wrong += [f"{name} has {m}" for m in members if m.partition(" ")[2] not in self.records]
            else:
                users = [1 for t in self.records.values() if (t["chain"], t["version"]) == (words[1], words[2])]
                if int(members.get("orders", 0)) != len(users):
                    wrong.append(f"{name} says {members.get('orders')} orders, there are {len(users)}")
        return wrong

    def jobs(self) -> list[str]:
        """A job of a step that has not ended is the one at which its order is."""
        wrong: list[str] = []
        for name, job in self.keys.items():
            if _parts(name) != ("job", 2) or "order" not in job or job.get("state") not in {*WAITING, "running"}:
                continue
            job_id, order, step = name.split(":")[1], job["order"], job["step"]
            at = self.now.get(order, {}).get(step)
            if at != job_id and job_id not in self.of(f"order:{order}:each:{step}:jobs"):
                wrong.append(
                    f"{name} is {job['state']} for step {step} of order {order}, which is at {self.now.get(order)}"
                )
        return wrong

    def parts(self) -> list[str]:
        """Nothing is left of an order that is gone, nor of a list that is done with."""
        wrong: list[str] = []
        for name in self.keys:
            words = name.split(":")
            if words[0] == "order" and words[1] not in self.records:
                wrong.append(f"{name} is left of an order that is gone")
            elif words[2:3] == ["each"] and words[3] not in self.records[words[1]].get("eached", "").split():
                wrong.append(f"{name} is left of a list that is done with")
        return wrong


def _parts(name: str) -> tuple[str, int]:
    return name.split(":", maxsplit=1)[0], name.count(":") + 1


def _pairs(text: str) -> Texts:
    return {step: word for step, _, word in (pair.partition("=") for pair in text.split())}
