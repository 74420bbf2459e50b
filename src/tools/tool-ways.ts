import { openEgress, type Egress } from '#egress';

/** To one origin at a time, of all who use its tools: as much as one server has to bear from us. */
const connectionsMax = 128;

/** The ways out to the origins that tools name, each opened once and kept. Releases bound how many there are. */
export class ToolWays {
  readonly #privateOrigins: ReadonlySet<string>;
  readonly #open = new Map<string, Egress>();

  constructor(privateOrigins: ReadonlySet<string>) {
    this.#privateOrigins = privateOrigins;
  }

  to(origin: string): Egress {
    const open = this.#open.get(origin);
    if (open !== undefined) return open;
    const reach = this.#privateOrigins.has(origin) ? 'configured' : 'public';
    const way = openEgress(new URL(origin), reach, connectionsMax);
    this.#open.set(origin, way);
    return way;
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map((way) => way.close()));
  }
}
