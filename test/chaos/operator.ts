import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';

interface Handover {
  readonly id: string;
  readonly conversation: string | null;
  readonly waiting: string | null;
}

const giveUpMs = 90_000;

/**
 * A person at the desk: once the fault has struck they look, at whatever desk answers, for who waits in
 * this conversation, and answer. Where nobody says whether their answer came, they look again; so
 * they name the response that they answer, which takes one answer at the most.
 */
export async function replyAsPerson(
  fleet: Fleet,
  asked: { readonly conversation: string; readonly reply: string; readonly struck: Promise<unknown> },
): Promise<void> {
  const { conversation, reply, struck } = asked;
  await struck;
  const untilMs = performance.now() + giveUpMs;
  let answered: string | undefined;
  for (let at = 0; performance.now() < untilMs; at += 1) {
    const desk = fleet.desks[at % fleet.desks.length]!.url;
    try {
      const { handovers } = await admin<{ handovers: readonly Handover[] }>(fleet, desk, '?limit=100');
      const mine = handovers.find((one) => one.conversation === conversation);
      if (mine !== undefined && mine.waiting === null && answered !== undefined) return;
      if (mine !== undefined && mine.waiting !== null) {
        answered = mine.waiting;
        const body = { text: reply, name: 'Mira', response: mine.waiting };
        await admin(fleet, desk, `/${mine.id}/answers`, body);
        return;
      }
    } catch {
      // Another desk knows more.
    }
    await delay(250);
  }
  throw new Error('nobody was to be answered');
}

async function admin<T>(fleet: Fleet, url: string, path: string, body?: object): Promise<T> {
  const answer = await fetch(`${url}/admin/handovers${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${fleet.operatorKey}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(3000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
