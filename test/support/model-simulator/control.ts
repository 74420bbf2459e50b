import { seededRandom, type Random } from '#base';
import type { Plan } from './plan.ts';
import type { SimulatorOptions } from './options.ts';

/** A plan for requests that carry no command of their own. */
export interface Rule {
  readonly plan: Plan;
  /** How many matching requests it holds for; absent: every one until cleared. */
  readonly next?: number;
  /** Strikes with this probability, drawn from `seed`. */
  readonly probability?: number;
  readonly seed?: number;
  /** Only requests whose last user message contains this. */
  readonly contains?: string;
  /** Only requests for this model name. */
  readonly model?: string;
}

export type ControlCommand =
  | ({ readonly do: 'plan' } & Rule)
  /** Forgets all rules. */
  | { readonly do: 'clear' }
  /** Lets go every answer that stalls or hangs. */
  | { readonly do: 'release' }
  /** `false` closes the listener and every connection: the machine is gone. `true` brings it back on the same port. */
  | { readonly do: 'listen'; readonly on: boolean }
  /** Changes the server's behaviour; the cache and the limits begin anew when theirs change. */
  | { readonly do: 'options'; readonly options: Partial<SimulatorOptions> }
  /** Empties the journal and the high-water marks. */
  | { readonly do: 'forget' };

interface ActiveRule {
  readonly rule: Rule;
  readonly random: Random;
  left: number;
}

/** The rules in force, first match wins. */
export class Rules {
  #rules: ActiveRule[] = [];

  add(rule: Rule): void {
    this.#rules.push({ rule, random: seededRandom(rule.seed ?? 1), left: rule.next ?? Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.#rules = [];
  }

  /** Takes the plan for one request, and uses it up. */
  take(model: string, lastUserText: string): Plan {
    for (const active of this.#rules) {
      const { rule } = active;
      if (rule.model !== undefined && rule.model !== model) continue;
      if (rule.contains !== undefined && !lastUserText.includes(rule.contains)) continue;
      if (rule.probability !== undefined && active.random() >= rule.probability) continue;
      active.left -= 1;
      if (active.left <= 0) this.#rules = this.#rules.filter((other) => other !== active);
      return rule.plan;
    }
    return {};
  }
}
