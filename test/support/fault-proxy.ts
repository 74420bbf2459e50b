import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { seededRandom, type Random } from '#base';

/** What happens to the bytes of one direction. Absent: nothing. May change while connections are open. */
export interface LinkFaults {
  /** Every byte arrives this much later. */
  readonly latencyMs?: number;
  /** Added to the latency, uniform from 0, drawn from the proxy's seed; order is kept. */
  readonly jitterMs?: number;
  readonly bytesPerSecond?: number;
  /** Writes of at most this many bytes; with `sliceRandom` 1 to this many, drawn from the proxy's seed. */
  readonly sliceMax?: number;
  readonly sliceRandom?: boolean;
  /** Nothing arrives, neither bytes nor the end, until it is lifted; then all of it does, as TCP would resend. */
  readonly blackhole?: boolean;
  /** The connection is closed (FIN) both ways after this many bytes of this direction. */
  readonly cutAfterBytes?: number;
  /** The same, by a reset (RST). */
  readonly resetAfterBytes?: number;
}

/** `up`: from the client to the target. `down`: back. */
export type Direction = 'up' | 'down';

/** A TCP proxy that stands for a bad network. */
export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Replaces the faults of one direction or both; `{}` mends it. */
  set(direction: Direction | 'both', faults: LinkFaults): void;
  /** Closes all open connections (FIN). */
  cut(): void;
  /** Resets all open connections (RST). */
  reset(): void;
  /** `false`: new connections are refused. `true`: accepted again, on the same port. */
  setListening(on: boolean): Promise<void>;
  /** Connections open now, and ever accepted. */
  readonly connections: { readonly open: number; readonly accepted: number };
  /** Bytes delivered. */
  readonly bytes: Readonly<Record<Direction, number>>;
  stop(): Promise<void>;
}

/** Bytes of one direction that may wait inside the proxy before the sender is held back. */
const queueMaxBytes = 64 * 1024;

interface State {
  readonly faults: Record<Direction, LinkFaults>;
  readonly bytes: Record<Direction, number>;
  readonly links: Set<Link>;
  readonly random: Random;
  accepted: number;
}

/**
 * Starts a proxy on a free port of 127.0.0.1 before `target`: a port, a URL whose host and port count,
 * or the path of a Unix socket.
 */
export async function startFaultProxy(target: number | string, faults: LinkFaults = {}, seed = 1): Promise<FaultProxy> {
  const to = typeof target === 'number' ? { host: '127.0.0.1', port: target } : addressOf(target);
  const state: State = {
    faults: { up: faults, down: faults },
    bytes: { up: 0, down: 0 },
    links: new Set(),
    random: seededRandom(seed),
    accepted: 0,
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    state.accepted += 1;
    const link = new Link(client, connect({ ...to, allowHalfOpen: true, noDelay: true }), state);
    state.links.add(link);
  });
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const stop = (): Promise<void> => stopProxy(server, state);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    set(direction, changed) {
      if (direction !== 'down') state.faults.up = changed;
      if (direction !== 'up') state.faults.down = changed;
      for (const link of state.links) link.faultsChanged();
    },
    cut: () => state.links.forEach((link) => link.cut()),
    reset: () => state.links.forEach((link) => link.reset()),
    setListening: (on) => setListening(server, port, on),
    get connections() {
      return { open: state.links.size, accepted: state.accepted };
    },
    bytes: state.bytes,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function addressOf(url: string): { host: string; port: number } | { path: string } {
  if (url.startsWith('/')) return { path: url };
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen({ host: '127.0.0.1', port, backlog: 1024 });
  await once(server, 'listening');
}

async function setListening(server: Server, port: number, on: boolean): Promise<void> {
  if (on === server.listening) return;
  if (on) await listen(server, port);
  // Open connections live on: only the listener goes.
  else server.close();
}

async function stopProxy(server: Server, state: State): Promise<void> {
  for (const link of state.links) link.reset();
  if (!server.listening) return;
  server.close();
  await once(server, 'close');
}

/** One client's connection with the target's, and a pump for each direction. */
class Link {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #pumps: readonly Pump[];
  readonly #state: State;

  constructor(client: Socket, target: Socket, state: State) {
    this.#client = client;
    this.#target = target;
    this.#state = state;
    this.#pumps = [new Pump('up', client, target, state, this), new Pump('down', target, client, state, this)];
    client.on('close', (hadError) => this.#oneClosed(target, hadError));
    target.on('close', (hadError) => this.#oneClosed(client, hadError));
  }

  faultsChanged(): void {
    for (const pump of this.#pumps) pump.wake();
  }

  cut(): void {
    this.#halt();
    this.#client.destroySoon();
    this.#target.destroySoon();
  }

  reset(): void {
    this.#halt();
    resetNow(this.#client);
    resetNow(this.#target);
  }

  #halt(): void {
    for (const pump of this.#pumps) pump.halt();
    this.#state.links.delete(this);
  }

  /** A reset travels on at once; an ordinary close travels behind the bytes, in the pump. */
  #oneClosed(other: Socket, hadError: boolean): void {
    if (hadError) {
      this.#halt();
      resetNow(other);
    } else if (this.#client.destroyed && this.#target.destroyed) this.#halt();
  }
}

interface Parcel {
  /** Undefined: the sender's end. */
  readonly bytes: Buffer | undefined;
  readonly dueAt: number;
}

/** Carries one direction of one connection, in order, under the faults in force at each moment. */
class Pump {
  readonly #direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #state: State;
  readonly #link: Link;
  readonly #queue: Parcel[] = [];
  #queuedBytes = 0;
  #sentBytes = 0;
  #isHalted = false;
  #wake: (() => void) | undefined;

  constructor(direction: Direction, from: Socket, to: Socket, state: State, link: Link) {
    this.#direction = direction;
    this.#from = from;
    this.#to = to;
    this.#state = state;
    this.#link = link;
    from.on('data', (bytes: Buffer) => this.#receive(bytes));
    from.on('end', () => this.#receive(undefined));
    from.on('error', () => {});
    to.on('drain', () => this.wake());
    void this.#run();
  }

  get #faults(): LinkFaults {
    return this.#state.faults[this.#direction];
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  halt(): void {
    this.#isHalted = true;
    this.wake();
  }

  #receive(bytes: Buffer | undefined): void {
    const { latencyMs = 0, jitterMs = 0 } = this.#faults;
    const dueAt = performance.now() + latencyMs + (jitterMs === 0 ? 0 : jitterMs * this.#state.random());
    this.#queue.push({ bytes, dueAt });
    this.#queuedBytes += bytes?.length ?? 0;
    if (this.#queuedBytes > queueMaxBytes) this.#from.pause();
    this.wake();
  }

  async #run(): Promise<void> {
    for (;;) {
      while (!this.#isHalted && (this.#queue.length === 0 || this.#faults.blackhole === true)) await this.#wait();
      const parcel = this.#queue.shift();
      if (this.#isHalted || parcel === undefined) return;
      await this.#sleepUntil(parcel.dueAt);
      if (parcel.bytes === undefined) {
        this.#to.end();
        return;
      }
      await this.#deliver(parcel.bytes);
      this.#queuedBytes -= parcel.bytes.length;
      if (this.#queuedBytes <= queueMaxBytes) this.#from.resume();
    }
  }

  /** Faults are read anew for each slice, so that a change strikes in the middle of a parcel. */
  async #deliver(bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length && !this.#isHalted;) {
      while (this.#faults.blackhole === true && !this.#isHalted) await this.#wait();
      const slice = bytes.subarray(start, start + this.#sliceSize());
      if (slice.length > 0) await this.#write(slice);
      start += slice.length;
      this.#breakIfDue();
    }
  }

  async #write(slice: Buffer): Promise<void> {
    const { bytesPerSecond, sliceMax } = this.#faults;
    if (bytesPerSecond !== undefined) {
      await this.#sleepUntil(performance.now() + (slice.length * 1000) / bytesPerSecond);
    }
    if (this.#isHalted || this.#to.destroyed) return;
    const isRoomy = this.#to.write(slice);
    this.#sentBytes += slice.length;
    this.#state.bytes[this.#direction] += slice.length;
    // A turn of the event loop between slices, so that each is a segment of its own.
    if (sliceMax !== undefined) await new Promise(setImmediate);
    if (!isRoomy) while (this.#to.writableNeedDrain && !this.#to.destroyed && !this.#isHalted) await this.#wait();
  }

  #sliceSize(): number {
    const { sliceMax, sliceRandom, bytesPerSecond, cutAfterBytes, resetAfterBytes } = this.#faults;
    const random = sliceRandom === true ? this.#state.random() : 1;
    const bySlice = sliceMax === undefined ? Infinity : Math.max(1, Math.ceil(sliceMax * random));
    // Bandwidth in steps of 20 ms, so that it is a pace and not a wait.
    const byPace = bytesPerSecond === undefined ? Infinity : Math.max(1, Math.floor(bytesPerSecond / 50));
    const left = Math.min(cutAfterBytes ?? Infinity, resetAfterBytes ?? Infinity) - this.#sentBytes;
    return Math.min(bySlice, byPace, Math.max(0, left));
  }

  #breakIfDue(): void {
    const { cutAfterBytes = Infinity, resetAfterBytes = Infinity } = this.#faults;
    if (this.#sentBytes >= resetAfterBytes) this.#link.reset();
    else if (this.#sentBytes >= cutAfterBytes) this.#link.cut();
  }

  async #sleepUntil(at: number): Promise<void> {
    while (!this.#isHalted && performance.now() < at) {
      const timer = setTimeout(() => this.wake(), Math.max(1, at - performance.now()));
      await this.#wait();
      clearTimeout(timer);
    }
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** A Unix socket knows no reset: it is closed at once. */
function resetNow(socket: Socket): void {
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
