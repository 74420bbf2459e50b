import type OpenAI from 'openai';
import { ResponseStream } from 'openai/lib/responses/ResponseStream';

type Event = OpenAI.Responses.ResponseStreamEvent;
type Response = OpenAI.Responses.Response;

/** Every event that a stream tells, to its end. */
export async function heard(stream: AsyncIterable<Event>): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** What the official client makes of events, wherever they were heard. */
export async function accumulated(events: readonly Event[]): Promise<Response> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const encoder = new TextEncoder();
      for (const event of events) controller.enqueue(encoder.encode(`${JSON.stringify(event)}\n`));
      controller.close();
    },
  });
  return plain(await ResponseStream.fromReadableStream(body).finalResponse());
}

/** Without what the client adds of its own (`output_parsed` and the like). */
export function plain(response: Response): Response {
  return JSON.parse(
    JSON.stringify(response, (key, value: unknown) =>
      key === 'parsed' || key === 'output_parsed' || key === 'parsed_arguments' ? undefined : value,
    ),
  ) as Response;
}

/** Whether numbers go up one by one from `first`. */
export function isGapless(events: readonly Event[], first: number): boolean {
  return events.every((event, index) => event.sequence_number === first + index);
}
