export { metricDescriptions, type MetricDescription } from './metric-table.ts';
export { openTelemetry, type TelemetryOptions } from './open-telemetry.ts';
export type { Telemetry } from './port.ts';
