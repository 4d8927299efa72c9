// What both roles of the BullMQ peer share; bench/agent.py explains the roles and the answers.
// process.hrtime and Python's time.monotonic_ns read the same clock on Linux (CLOCK_MONOTONIC), so that a time
// taken in one process may be compared with one from another.

export const spec = JSON.parse(process.argv[2]);
export const QUEUE = 'bench';
export const TYPE = 'bench.noop';
export const FILE = 'x'.repeat(100 - '{"file": "", "sent": 0}'.length);
export const WARM_UP = 10;

// BullMQ's own advice for workers: blocking calls must not be bounded by a retry limit.
export const connection = {
  ...(spec.socket ? { path: spec.socket } : { host: spec.host, port: spec.port }),
  maxRetriesPerRequest: null,
};

export const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
export const now = () => process.hrtime.bigint();

export function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
