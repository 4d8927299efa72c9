// BullMQ's worker: one Node process, `concurrency` = slots. Stock settings: locks, events, finished jobs kept.

import { Worker } from 'bullmq';

import { QUEUE, WARM_UP, connection, cpuSeconds, now, say, spec } from './peer.mjs';

let started = 0;
let settled = 0;
let first;
let last;
let cpuFirst;
let cpuLast;
const delays = [];

const sayDrained = () =>
  say({ jobs: spec.jobs - 1, seconds: Number(last - first) / 1e9, cpu_seconds: cpuLast - cpuFirst });

function drained(at) {
  started += 1;
  if (started === 1) [first, cpuFirst] = [at, cpuSeconds()];
  if (started === spec.jobs) {
    [last, cpuLast] = [at, cpuSeconds()];
    if (spec.stop_early) {
      sayDrained();
      process.exit(0);
    }
  }
}

function listened(at, sent) {
  if (!sent) return say({ ready: true });
  delays.push(Number(at - BigInt(sent)));
  if (delays.length === WARM_UP + spec.jobs) {
    say({ delays_ns: delays.slice(WARM_UP) });
    process.exit(0);
  }
}

const handle = async (job) => {
  const at = now();
  if (spec.act === 'listen') listened(at, job.data.sent);
  else drained(at);
};

const worker = new Worker(QUEUE, handle, { connection, concurrency: spec.slots });
worker.on('error', (error) => console.error(error));
worker.on('completed', async () => {
  settled += 1;
  if (spec.act === 'drain' && settled === spec.jobs) {
    await worker.close();
    sayDrained();
    process.exit(0);
  }
});
