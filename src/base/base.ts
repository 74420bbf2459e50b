export { systemClock, type Clock } from './clock.ts';
export { UsherError, unreachable, type ErrorCode, type ErrorDetails } from './errors.ts';
export { nearestWord } from './nearest-word.ts';
export { newId, parseId, type Branded, type Id, type IdKind } from './ids.ts';
export { seededRandom, type Random } from './random.ts';
export { checkAgainst, shown, type DataWords } from './schema-findings.ts';
export { siblingModule } from './sibling.ts';
export { formatProblem, summarizeProblem, type Problem } from './problem.ts';
export { readYaml, type YamlRead } from './yaml-problems.ts';
