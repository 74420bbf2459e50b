export { metricDescriptions, type MetricDescription } from './metric-table.ts';
export { openTelemetry, type TelemetryOptions } from './open-telemetry.ts';
export type { Telemetry, ToolResult } from './port.ts';
