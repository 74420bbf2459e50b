export type { EventStream, Exchange, Policy, Route } from './exchange.ts';
