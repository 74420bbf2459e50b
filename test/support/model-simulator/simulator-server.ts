import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { lastUserText, type ChatBody } from './answer.ts';
import { refuse, serveChat, type Machine } from './chat.ts';
import { Rules, type ControlCommand } from './control.ts';
import { embeddings, isEmbeddingBody, textsOf } from './embeddings.ts';
import { Engine } from './engine.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { readOptions, type SimulatorOptions } from './options.ts';
import { readHeader, readMarkers, type Plan } from './plan.ts';
import { PrefixCache } from './prefix-cache.ts';
import { RateLimit } from './rate-limit.ts';
import { Reply } from './reply.ts';
import { Visitor } from './visitor.ts';

const chatPath = /^(?:\/v1|\/openai\/v1|\/openai\/deployments\/[^/?]+)?\/chat\/completions(?:\?|$)/u;
const embeddingsPath = /^(?:\/v1|\/openai\/v1|\/openai\/deployments\/[^/?]+)?\/embeddings(?:\?|$)/u;
const modelsPath = /^(?:\/v1|\/openai\/v1)?\/models(?:\?|$)/u;

/** One simulated model server: its wire on one port, its controls on another. */
export class SimulatorServer {
  #machine: Machine;
  readonly #rules = new Rules();
  readonly #visitors = new Set<Visitor>();
  readonly #wire: Server;
  readonly #controls: Server;
  #port = 0;

  constructor(options: SimulatorOptions) {
    this.#machine = newMachine(options);
    this.#wire = createServer({ keepAliveTimeout: 60_000, noDelay: true }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#wire.on('connection', (socket) => {
      const { totals } = this.#machine.journal;
      totals.connections += 1;
      totals.connectionsOpened += 1;
      socket.on('close', () => {
        totals.connections -= 1;
      });
    });
    this.#controls = createServer((request, response) => {
      void this.#control(request, response);
    });
  }

  async start(): Promise<{ url: string; control: string }> {
    await listen(this.#wire, this.#machine.options.port);
    await listen(this.#controls, 0);
    this.#port = (this.#wire.address() as AddressInfo).port;
    const controlPort = (this.#controls.address() as AddressInfo).port;
    return { url: `http://127.0.0.1:${this.#port}`, control: `http://127.0.0.1:${controlPort}` };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const { method = 'GET', url = '/', headers, socket } = request;
    const machine = this.#machine;
    const visitor = new Visitor();
    const body = parseBody(text);
    const entry = machine.journal.open({ method, path: url, headers, body });
    response.on('close', () => {
      if (!response.writableFinished) machine.journal.close(entry, 'aborted');
      visitor.leave();
    });
    this.#visitors.add(visitor);
    machine.journal.totals.active += 1;
    try {
      const isChat = method === 'POST' && chatPath.test(url);
      const isEmbedding = method === 'POST' && embeddingsPath.test(url);
      const plan = isChat || isEmbedding ? this.#planOf(request, body) : {};
      const reply = new Reply(response, socket, visitor, plan);
      if (isChat) await this.#chat(machine, request, body, plan, entry, visitor, reply);
      else if (isEmbedding) await this.#embed(machine, request, body, plan, entry, visitor, reply);
      else await this.#other(machine, request, entry, reply);
    } catch (error) {
      // A misspelt command is the test's fault: say so loudly instead of serving an ordinary answer.
      if (response.headersSent) response.destroy();
      else response.writeHead(418).end(String(error));
    } finally {
      machine.journal.totals.active -= 1;
      this.#visitors.delete(visitor);
    }
  }

  /** A header outranks a marker, a marker outranks the rules. */
  #planOf(request: IncomingMessage, body: unknown): Plan {
    const header = request.headers['x-simulate'];
    if (typeof header === 'string') return readHeader(header);
    const said = isChatBody(body) ? lastUserText(body) : isEmbeddingBody(body) ? textsOf(body).join('\n') : undefined;
    if (said === undefined) return {};
    const marked = readMarkers(said);
    return Object.keys(marked).length > 0 ? marked : this.#rules.take((body as { readonly model: string }).model, said);
  }

  async #chat(
    machine: Machine,
    request: IncomingMessage,
    body: unknown,
    planned: Plan,
    entry: JournalEntry,
    visitor: Visitor,
    reply: Reply,
  ): Promise<void> {
    const plan = await this.#admit(machine, request, planned, entry, visitor, reply);
    if (plan === undefined) return;
    if (!isChatBody(body)) {
      const problem = {
        message: 'The body must be a chat completion request.',
        type: 'invalid_request_error',
        code: null,
      };
      return refuse(machine, entry, reply, 400, problem);
    }
    if (isUnknown(machine, body.model)) return refuse(machine, entry, reply, 404, unknownModel(body.model));
    return serveChat(machine, body, plan, keyOf(request), entry, visitor, reply);
  }

  async #embed(
    machine: Machine,
    request: IncomingMessage,
    body: unknown,
    planned: Plan,
    entry: JournalEntry,
    visitor: Visitor,
    reply: Reply,
  ): Promise<void> {
    const plan = await this.#admit(machine, request, planned, entry, visitor, reply);
    if (plan === undefined) return;
    if (!isEmbeddingBody(body)) {
      const problem = {
        message: 'The body must be an embedding request.',
        type: 'invalid_request_error',
        code: null,
      };
      return refuse(machine, entry, reply, 400, problem);
    }
    if (isUnknown(machine, body.model)) return refuse(machine, entry, reply, 404, unknownModel(body.model));
    const answer = embeddings(body);
    if (Math.max(...answer.textTokens) > machine.options.contextTokens) {
      const problem = {
        message: `This model's maximum context length is ${machine.options.contextTokens} tokens.`,
        type: 'invalid_request_error',
        code: 'context_length_exceeded',
      };
      return refuse(machine, entry, reply, 400, problem);
    }
    entry.promptTokens = answer.body.usage.prompt_tokens;
    return sendJson(machine, entry, reply, answer.body);
  }

  /** What goes wrong before a request is looked at. Undefined: it was answered, or its client left. */
  async #admit(
    machine: Machine,
    request: IncomingMessage,
    planned: Plan,
    entry: JournalEntry,
    visitor: Visitor,
    reply: Reply,
  ): Promise<Plan | undefined> {
    let plan = planned;
    if (plan.fault?.kind === 'reset') {
      machine.journal.close(entry, 'faulted');
      reply.reset();
      return undefined;
    }
    if (plan.delayMs !== undefined) await visitor.sleep(plan.delayMs);
    if (plan.fault?.kind === 'hang') {
      await visitor.wait();
      if (visitor.gone) return undefined;
      const { fault: _released, ...ordinary } = plan;
      plan = ordinary;
    }
    if (plan.fault?.kind === 'status') {
      const { status, code, message, retryAfterMs } = plan.fault;
      const wait =
        retryAfterMs === undefined
          ? {}
          : { 'retry-after': String(Math.ceil(retryAfterMs / 1000)), 'retry-after-ms': String(retryAfterMs) };
      const problem = {
        message: message ?? `Simulated ${status}.`,
        type: status < 500 ? 'invalid_request_error' : 'server_error',
        code: code ?? null,
      };
      await refuse(machine, entry, reply, status, problem, wait);
      return undefined;
    }
    const key = keyOf(request);
    if (machine.options.apiKeys.length > 0 && !machine.options.apiKeys.includes(key)) {
      const problem = {
        message: 'Incorrect API key provided.',
        type: 'invalid_request_error',
        code: 'invalid_api_key',
      };
      await refuse(machine, entry, reply, 401, problem);
      return undefined;
    }
    return plan;
  }

  async #other(machine: Machine, request: IncomingMessage, entry: JournalEntry, reply: Reply): Promise<void> {
    const path = request.url ?? '/';
    if (request.method === 'GET' && path === '/health') return sendJson(machine, entry, reply, { status: 'ok' });
    if (request.method === 'GET' && modelsPath.test(path)) {
      const { apiKeys, models } = machine.options;
      if (apiKeys.length > 0 && !apiKeys.includes(keyOf(request))) {
        const problem = {
          message: 'Incorrect API key provided.',
          type: 'invalid_request_error',
          code: 'invalid_api_key',
        };
        return refuse(machine, entry, reply, 401, problem);
      }
      const data = models.map((id) => ({ id, object: 'model', created: 0, owned_by: 'simulator' }));
      return sendJson(machine, entry, reply, { object: 'list', data });
    }
    const problem = {
      message: `Unknown request URL: ${request.method} ${path}.`,
      type: 'invalid_request_error',
      code: 'unknown_url',
    };
    return refuse(machine, entry, reply, 404, problem);
  }

  async #control(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    try {
      if (request.method === 'POST' && request.url === '/control') {
        await this.#obey(JSON.parse(text) as ControlCommand);
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      } else if (request.method === 'GET' && request.url === '/control/log') {
        const { journal } = this.#machine;
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ totals: journal.totals, requests: journal.entries() }));
      } else response.writeHead(404).end();
    } catch (error) {
      response.writeHead(400).end(String(error));
    }
  }

  async #obey(command: ControlCommand): Promise<void> {
    if (command.do === 'plan') this.#rules.add(command);
    else if (command.do === 'clear') this.#rules.clear();
    else if (command.do === 'release') for (const visitor of this.#visitors) visitor.wake();
    else if (command.do === 'forget') this.#machine.journal.forget();
    else if (command.do === 'options') this.#change(command.options);
    else if (command.do === 'listen') await this.#setListening(command.on);
    else throw new Error(`the simulator has no control command ${JSON.stringify(command)}`);
  }

  #change(changes: Partial<SimulatorOptions>): void {
    const options = readOptions(changes, this.#machine.options);
    const fresh = newMachine(options);
    const { engine, journal, cache, limit } = this.#machine;
    engine.options = options;
    const keepsCache = !('cacheBlocks' in changes) && !('blockTokens' in changes);
    const keepsLimit = !('requestsPerMinute' in changes) && !('tokensPerMinute' in changes);
    this.#machine = {
      options,
      engine,
      journal,
      cache: keepsCache ? cache : fresh.cache,
      limit: keepsLimit ? limit : fresh.limit,
    };
  }

  async #setListening(on: boolean): Promise<void> {
    if (on === this.#wire.listening) return;
    if (on) return listen(this.#wire, this.#port);
    const closed = new Promise((resolve) => {
      this.#wire.close(resolve);
    });
    this.#wire.closeAllConnections();
    await closed;
  }
}

function isUnknown({ options }: Machine, model: string): boolean {
  return options.strictModels && !options.models.includes(model);
}

function unknownModel(model: string): { message: string; type: string; code: string } {
  return {
    message: `The model "${model}" does not exist.`,
    type: 'invalid_request_error',
    code: 'model_not_found',
  };
}

function newMachine(options: SimulatorOptions): Machine {
  return {
    options,
    engine: new Engine(options),
    cache: new PrefixCache(options.cacheBlocks, options.blockTokens),
    limit: new RateLimit(options.requestsPerMinute, options.tokensPerMinute),
    journal: new Journal(options.journalMax),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of request) pieces.push(piece as Buffer);
  } catch {
    // The client left before its request was whole: what came is still journaled.
  }
  return Buffer.concat(pieces).toString();
}

function parseBody(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return text;
  }
}

function isChatBody(body: unknown): body is ChatBody {
  if (typeof body !== 'object' || body === null) return false;
  const { model, messages } = body as Partial<ChatBody>;
  return typeof model === 'string' && Array.isArray(messages) && messages.length > 0;
}

function keyOf(request: IncomingMessage): string {
  const azure = request.headers['api-key'];
  if (typeof azure === 'string') return azure;
  return (request.headers.authorization ?? '').replace(/^Bearer /u, '');
}

async function sendJson(machine: Machine, entry: JournalEntry, reply: Reply, value: unknown): Promise<void> {
  const text = JSON.stringify(value);
  entry.status = 200;
  await reply.head(200, { 'content-type': 'application/json' }, Buffer.byteLength(text));
  await reply.write(text);
  await reply.end();
  machine.journal.close(entry, 'done');
}
