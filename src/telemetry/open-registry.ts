import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { metricTable, type MetricDescription, type MetricKey } from './metric-table.ts';

type Instrument<Kind extends MetricDescription['kind']> = Kind extends 'counter'
  ? Counter
  : Kind extends 'gauge'
    ? Gauge
    : Histogram;

export type Instruments = { readonly [Key in MetricKey]: Instrument<(typeof metricTable)[Key]['kind']> };

export interface OpenRegistry {
  readonly registry: Registry;
  readonly instruments: Instruments;
}

/** A registry of its own, so that two servers in one process count apart. */
export function openRegistry(version: string): OpenRegistry {
  const registry = new Registry();
  const instruments = Object.fromEntries(
    Object.entries(metricTable).map(([key, description]) => [key, instrumentOf(description, registry)]),
  ) as unknown as Instruments;
  instruments.build.set({ version }, 1);
  collectDefaultMetrics({ register: registry });
  return { registry, instruments };
}

function instrumentOf(description: MetricDescription, registry: Registry): Counter | Gauge | Histogram {
  const { name, help, kind } = description;
  const common = { name, help, labelNames: [...description.labels], registers: [registry] };
  if (kind === 'counter') return new Counter(common);
  if (kind === 'gauge') return new Gauge(common);
  return new Histogram({ ...common, buckets: [...(description.buckets ?? [])] });
}
