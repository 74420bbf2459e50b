import type { ArgumentCheck, ToolPolicy } from '#release';
import type { ServerTool, ToolContext } from './port.ts';

export type Arguments = Readonly<Record<string, unknown>>;

/** A tool with what it takes to run it. */
export interface RunnableTool {
  readonly shown: ServerTool;
  readonly policy: ToolPolicy;
  readonly check: ArgumentCheck;
  /** The result for the model, without secrets. @throws ToolFailure, and what the network threw */
  run(given: Arguments, context: ToolContext, signal: AbortSignal): Promise<string>;
}

const marker = (bytes: number): string => `\n[The result is longer than ${bytes} bytes and was cut here.]`;

/** At most `bytesMax` bytes of UTF-8, cut between two characters, with a sentence that says so. */
export function cutResult(text: string, bytesMax: number, isWhole: boolean): string {
  const bytes = Buffer.from(text);
  if (isWhole && bytes.byteLength <= bytesMax) return text;
  // A decoder that waits for more keeps back the half of a character.
  return `${new TextDecoder().decode(bytes.subarray(0, bytesMax), { stream: true })}${marker(bytesMax)}`;
}
