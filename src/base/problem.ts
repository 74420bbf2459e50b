/** Something wrong in a file that a person wrote, and where. Lines and columns count from 1; 0 stands for the file as a whole. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** A sentence that says the mend; never a secret. */
  readonly message: string;
  /** What would have been right, where that is known: `a number`. */
  readonly expected?: string;
  /** The valid word that was most likely meant. */
  readonly nearest?: string;
  /** The line of the file, to print under the message; what looks like a secret in it is masked. */
  readonly sourceLine?: string;
}

/** One line, for logs: `assistant.yaml:3:5  unknown key "temprature"; did you mean "temperature"?` */
export function summarizeProblem(problem: Problem): string {
  const place = problem.line === 0 ? '' : `:${problem.line}:${problem.column}`;
  return `${problem.file}${place}  ${problem.message}`;
}

/** For a terminal: the summary, with the line of the file and a caret under it where that is known. */
export function formatProblem(problem: Problem): string {
  const { sourceLine } = problem;
  if (sourceLine === undefined || sourceLine.trim() === '') return summarizeProblem(problem);
  const number = String(problem.line);
  // Tabs stay tabs under tabs, so that the caret stands right whatever their width.
  const indent = sourceLine.slice(0, problem.column - 1).replaceAll(/[^\t]/gu, ' ');
  return [summarizeProblem(problem), `  ${number} | ${sourceLine}`, `  ${' '.repeat(number.length)} | ${indent}^`].join(
    '\n',
  );
}

const sourceLineLengthMax = 200;

/**
 * A line of a file as it may be printed: shortened, and runs that look like a credential (16 or
 * more of its letters with a digit among them, or the value after a telling word) shown as dots of
 * the same length.
 */
export function printableLine(line: string): string {
  const dots = (found: string): string => '•'.repeat(found.length);
  const masked = line
    .replaceAll(/(?<=\b\w*(?:key|token|secret|passw\w*)\w*["']?\s*[:=]\s*["']?)[^\s"']{4,}/giu, dots)
    .replaceAll(/(?=[\w+/=-]*\d)[\w+/=-]{16,}/gu, dots);
  return masked.length > sourceLineLengthMax ? `${masked.slice(0, sourceLineLengthMax)}…` : masked;
}
