export { systemClock, type Clock } from './clock.ts';
export { UsherError, unreachable, type ErrorCode, type ErrorDetails } from './errors.ts';
export { newId, parseId, type Branded, type Id, type IdKind } from './ids.ts';
export { seededRandom, type Random } from './random.ts';
export { siblingModule } from './sibling.ts';
