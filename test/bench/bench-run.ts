import type { ModelSimulator, SimulatorOptions } from '#test/model-simulator';
import type { Figure } from './figure.ts';
import { startSubject, type Subject, type SubjectName } from './subject.ts';

/** What a bench works with. */
export interface BenchRun {
  readonly seconds: number;
  simulator(options?: Partial<SimulatorOptions>): Promise<ModelSimulator>;
  readonly eachSubject: EachSubject;
}

export type Bench = (run: BenchRun) => Promise<readonly Figure[]>;

/** Starts, measures and ends one subject after the other; a subject this machine lacks is left out. */
type EachSubject = <T>(
  names: readonly SubjectName[],
  simulator: ModelSimulator,
  measure: (subject: Subject) => Promise<T>,
) => Promise<Partial<Record<SubjectName, T>>>;

/** `only`: the subjects wanted in this run. `profileDir`: where Usher's processor profiles go. */
export function eachSubject(only: ReadonlySet<string>, profileDir: string | undefined): EachSubject {
  return async (names, simulator, measure) => {
    const measured: Partial<Record<SubjectName, Awaited<ReturnType<typeof measure>>>> = {};
    for (const name of names.filter((each) => only.has(each))) {
      await using stack = new AsyncDisposableStack();
      const subject = await startSubject(name, simulator, stack, profileDir);
      if (subject !== undefined) measured[name] = await measure(subject);
    }
    return measured;
  };
}
