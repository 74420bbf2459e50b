import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor time used so far by the living threads of a process and of its living descendants, in
 * microseconds. From /proc/<pid>/task/<tid>/schedstat, which counts nanoseconds where
 * /proc/<pid>/stat counts hundredths of a second. Linux only.
 */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const each of descendants(pid)) {
    for (const thread of threads(each)) {
      ns += Number(read(`/proc/${each}/task/${thread}/schedstat`)?.split(' ')[0] ?? 0);
    }
  }
  return ns / 1000;
}

function threads(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    // The process ended meanwhile.
    return [];
  }
}

/** Resident memory of a process and its living descendants, in bytes. Linux only. */
export function residentBytes(pid: number): number {
  const resident = descendants(pid).map((each) => {
    const found = /^VmRSS:\s+(\d+) kB$/mu.exec(read(`/proc/${each}/status`) ?? '');
    return Number(found?.[1] ?? 0) * 1024;
  });
  return resident.reduce((sum, each) => sum + each, 0);
}

function descendants(root: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const fields = /^\d+$/u.test(name) ? statFields(Number(name)) : undefined;
    if (fields !== undefined) parents.set(Number(name), Number(fields[1]));
  }
  const found = [root];
  for (const pid of found) {
    for (const [child, parent] of parents) if (parent === pid) found.push(child);
  }
  return found;
}

/** Fields of /proc/<pid>/stat from the third on: the second, the name, may hold blanks. */
function statFields(pid: number): readonly string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process ended meanwhile.
    return undefined;
  }
}
