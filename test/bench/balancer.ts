import { parseArgs } from 'node:util';
import { seededRandom } from '#base';
import { createPool, prefixChain, type Ticket } from '#balancer';

/**
 * CPU microseconds of the balancer's hot path, as JSON: one pick, first token and settle for pools of
 * 2, 10 and 50 members with 8 requests in flight and warm prefix records, and one prefix chain of 4 KB.
 *
 *   node test/bench/balancer.ts [--rounds 50000]
 */
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '50000' } } });
const rounds = Number(values.rounds);
const prompts = Array.from({ length: 64 }, (_, index) => promptOf(index));
const chains = prompts.map((prompt) => prefixChain(prompt, 'tenant'));

process.stdout.write(
  `${JSON.stringify({
    bench: 'balancer',
    rounds,
    pickAndSettleUs: Object.fromEntries([2, 10, 50].map((members) => [members, pickAndSettleUs(members)])),
    prefixChain4KbUs: cpuUs((round) => prefixChain(prompts[round % prompts.length]!, 'tenant').prefix.length),
  })}\n`,
);

/** 4 KB: instructions shared by all, then a conversation of its own. */
function promptOf(seed: number): string[] {
  const random = seededRandom(seed);
  const own = Array.from({ length: 2048 }, () => String.fromCharCode(97 + Math.floor(random() * 26))).join('');
  return ['You are a helpful assistant. '.repeat(71).slice(0, 2047), own];
}

function pickAndSettleUs(memberCount: number): number {
  const members = Array.from({ length: memberCount }, (_, index) => ({
    name: `backend-${index}`,
    concurrency: 64,
    requestsPerMinute: 1_000_000,
    tokensPerMinute: 1_000_000_000,
  }));
  const pool = createPool({ members, random: seededRandom(1) });
  const exclude: ReadonlySet<string> = new Set();
  const open: Ticket[] = [];
  let nowMs = 0;
  return cpuUs((round) => {
    nowMs += 1;
    const pick = pool.pick({ promptTokens: 1100, ...chains[(round * 7) % chains.length]!, exclude }, nowMs);
    if (pick.result === 'none') throw new Error(`the bench ran into a limit: ${pick.reason}`);
    pool.firstToken(pick.ticket, nowMs + 0.5);
    open.push(pick.ticket);
    if (open.length > 8) pool.settle(open.shift()!, { result: 'answered', outputTokens: 100 }, nowMs + 0.6);
    return memberCount;
  });
}

/** Mean CPU of one step, after a warm-up of a tenth of the rounds. */
function cpuUs(step: (round: number) => number): number {
  for (let round = 0; round < rounds / 10; round += 1) step(round);
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round += 1) step(round);
  const spent = process.cpuUsage(before);
  return Number(((spent.user + spent.system) / rounds).toFixed(2));
}
