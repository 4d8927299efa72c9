// BullMQ's producer: `add` awaited one by one, or `addBulk` in batches. Stock settings; the variant "priority" gives
// every job a priority, which moves BullMQ from a list to a sorted set.

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { Queue } from 'bullmq';

import { FILE, QUEUE, TYPE, WARM_UP, connection, cpuSeconds, now, say, spec } from './peer.mjs';

const options = spec.variant === 'priority' ? { priority: 10 } : {};
const queue = new Queue(QUEUE, { connection });
await queue.waitUntilReady();

async function enqueue() {
  const cpu = cpuSeconds();
  const start = now();
  if (spec.batch) {
    for (let begin = 0; begin < spec.jobs; begin += spec.batch) {
      const size = Math.min(spec.batch, spec.jobs - begin);
      const jobs = Array.from({ length: size }, () => ({ name: TYPE, data: { file: FILE, sent: 0 }, opts: options }));
      await queue.addBulk(jobs);
    }
  } else {
    for (let number = 0; number < spec.jobs; number += 1) {
      await queue.add(TYPE, { file: FILE, sent: 0 }, options);
    }
  }
  say({ jobs: spec.jobs, seconds: Number(now() - start) / 1e9, cpu_seconds: cpuSeconds() - cpu });
}

async function send() {
  await queue.add(TYPE, { file: FILE, sent: 0 }, options);
  await once(process.stdin, 'data'); // the harness says "go" once the listener has run that first job
  for (let number = 0; number < WARM_UP + spec.jobs; number += 1) {
    await sleep(spec.gap_ms * (0.5 + Math.random()));
    // Nanoseconds do not fit a JSON number exactly after 104 days of uptime; as text they always do.
    await queue.add(TYPE, { file: FILE, sent: String(now()) }, options);
  }
  say({ jobs: spec.jobs });
}

await (spec.act === 'send' ? send() : enqueue());
await queue.close();
process.exit(0);
