import { openEgress, type Egress } from '#egress';

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
    const way = openEgress(new URL(origin), this.#privateOrigins.has(origin) ? 'configured' : 'public');
    this.#open.set(origin, way);
    return way;
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map((way) => way.close()));
  }
}
