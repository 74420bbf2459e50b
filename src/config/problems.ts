import { formatProblem, type Problem } from '#base';

/** One thing that is wrong: at a place of `usher.yaml`, or in the environment or a flag. */
export type ConfigProblem = Problem | { readonly file: undefined; readonly message: string };

export function formatConfigProblem(problem: ConfigProblem): string {
  return problem.file === undefined ? problem.message : formatProblem(problem);
}

/** Collects what is wrong at places of one file. */
export interface Complaints {
  at(path: readonly (string | number)[], message: string, details?: { nearest?: string; secret?: boolean }): void;
}
