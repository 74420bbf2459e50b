import type { Tool } from '@modelcontextprotocol/client';
import type { Clock } from '#base';
import type { Egress } from '#egress';
import { openArgumentCheck, sourceToolName, type McpServerTools } from '#release';
import { authorise, withCredential, type AuthorityOptions } from '../authority.ts';
import type { ToolContext } from '../port.ts';
import type { Arguments, RunnableTool } from '../runnable-tool.ts';
import { ToolFailure } from '../tool-failure.ts';
import { asCall } from './mcp-fetch.ts';
import { mcpFailure } from './mcp-failure.ts';
import { openMcpSession } from './mcp-session.ts';
import { McpSessions } from './mcp-sessions.ts';
import { portableInputSchema } from './input-schema.ts';
import { readMcpResult } from './read-result.ts';

export interface McpServerOptions {
  readonly clock: Clock;
  readonly way: (origin: string) => Egress;
  readonly authority: Omit<AuthorityOptions, 'origin'>;
  /** Something is missing; a sentence with the mend. */
  readonly onMissing: (reason: string) => void;
}

const listingMs = 5000;
/** A listing is renewed after this long, and used for so long where it cannot be renewed. */
const freshMs = 300_000;
const staleMs = 3_600_000;
/** A server that did not list is not asked again at once. */
const pauseMs = 10_000;
/** The room ends a call by its own clock first. */
const graceMs = 1000;
const descriptionCharactersMax = 1024;

/** One declared server: its listing, cached, and the sessions of the people who use it. */
export class McpServer {
  readonly #declared: McpServerTools;
  readonly #options: McpServerOptions;
  readonly #url: URL;
  readonly #sessions = new McpSessions();
  #listed: { readonly tools: readonly RunnableTool[]; readonly atMs: number } | undefined;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #listing: Promise<void> | undefined;

  constructor(declared: McpServerTools, options: McpServerOptions) {
    this.#declared = declared;
    this.#options = options;
    this.#url = new URL(declared.url);
  }

  /** The tools that are declared and that the server has; none where it cannot list them now. Never rejects. */
  async tools(): Promise<readonly RunnableTool[]> {
    const ageMs = (): number => this.#now() - (this.#listed?.atMs ?? Number.NEGATIVE_INFINITY);
    if (ageMs() > freshMs && this.#now() - this.#failedAtMs > pauseMs) {
      this.#listing ??= this.#renew().finally(() => {
        this.#listing = undefined;
      });
    }
    if (this.#listing !== undefined) await this.#listing;
    return ageMs() > staleMs ? [] : (this.#listed?.tools ?? []);
  }

  close(): Promise<void> {
    return this.#sessions.close();
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  async #renew(): Promise<void> {
    try {
      const found = await this.#list();
      this.#listed = { tools: this.#offered(found), atMs: this.#now() };
    } catch (error) {
      this.#failedAtMs = this.#now();
      const why = error instanceof ToolFailure ? error.message : 'It answered nothing that could be read.';
      this.#options.onMissing(`${this.#url.origin} did not list its tools. ${why}`);
    }
  }

  /** @throws ToolFailure without the credential that was sent, and what cannot be named */
  async #list(): Promise<readonly Tool[]> {
    const signal = AbortSignal.timeout(listingMs);
    const { credential } = this.#declared;
    const origin = this.#url.origin;
    const { headers, secrets } =
      credential === undefined
        ? { headers: {}, secrets: [] }
        : withCredential(credential, { ...this.#options.authority, origin });
    const stopped = new ToolFailure('timeout', `It took longer than ${listingMs} ms.`);
    try {
      const session = await openMcpSession(this.#reach(headers));
      try {
        const { tools } = await asCall({ signal, idempotencyKey: undefined }, (within) =>
          session.client.listTools(undefined, { signal: within, timeout: listingMs }),
        );
        return tools;
      } finally {
        void session.close();
      }
    } catch (error) {
      throw signal.aborted ? stopped : mcpFailure(error, origin, secrets);
    }
  }

  #offered(found: readonly Tool[]): readonly RunnableTool[] {
    const byName = new Map(found.map((tool) => [tool.name, tool]));
    return this.#declared.tools.flatMap(({ name, policy }) => {
      const tool = byName.get(name);
      if (tool === undefined) {
        this.#options.onMissing(
          `${this.#url.origin} has no tool "${name}". Take it out of assistant.yaml, or correct its name.`,
        );
        return [];
      }
      const parameters = portableInputSchema(tool.inputSchema);
      if (parameters === undefined) {
        this.#options.onMissing(
          `${this.#url.origin} describes the arguments of "${name}" in a way that cannot be checked.`,
        );
        return [];
      }
      const { idempotent, confirm, timeoutMs } = policy;
      const description = (tool.description ?? tool.title ?? '').slice(0, descriptionCharactersMax);
      return [
        {
          shown: {
            name: sourceToolName(this.#declared.label, name),
            source: this.#declared.label,
            ...(description === '' ? {} : { description }),
            parameters,
            idempotent,
            confirm,
            timeoutMs,
          },
          policy,
          check: openArgumentCheck(parameters),
          run: (given, context, signal) =>
            this.#run({ tool, bytesMax: policy.resultBytesMax, timeoutMs }, given, context, signal),
        },
      ];
    });
  }

  async #run(
    { tool, bytesMax, timeoutMs }: { readonly tool: Tool; readonly bytesMax: number; readonly timeoutMs: number },
    given: Arguments,
    context: ToolContext,
    signal: AbortSignal,
  ): Promise<string> {
    const origin = this.#url.origin;
    const { headers, secrets } = authorise(this.#declared, context, { ...this.#options.authority, origin });
    const person = [context.subject, context.assistant, ...secrets];
    try {
      const result = await this.#sessions.use(
        person,
        () => openMcpSession(this.#reach(headers)),
        ({ client }) =>
          asCall({ signal, idempotencyKey: context.idempotencyKey }, (within) =>
            client.callTool(
              { name: tool.name, arguments: given },
              { signal: within, timeout: timeoutMs + graceMs, toolDefinition: tool },
            ),
          ),
      );
      return readMcpResult(result, bytesMax, secrets);
    } catch (error) {
      throw mcpFailure(error, origin, secrets);
    }
  }

  #reach(headers: Readonly<Record<string, string>>) {
    return {
      egress: this.#options.way(this.#url.origin),
      url: this.#url,
      headers: { ...this.#declared.headers, ...headers },
    };
  }
}
