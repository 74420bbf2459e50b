import type { Problem } from '#base';

const dots = (found: string): string => '•'.repeat(Math.min(found.length, 40));

/** A name that a person gives a variable, and that no key of a known service looks like. */
export function isPlainVariableName(text: string): boolean {
  return text.length <= 64 && /^[A-Z]{1,24}\d{0,2}(_[A-Z0-9]{1,24})*$/.test(text) && !isLongAndMixed(text);
}

/** A problem as it may be shown: whatever in its line or message could be a pasted secret is hidden. */
export function redactProblem(problem: Problem): Problem {
  const { sourceLine, message, ...rest } = problem;
  return {
    ...rest,
    message: message.replaceAll(/"([^"]+)"/g, (whole, word: string) =>
      isLongAndMixed(word) ? `"${dots(word)}"` : whole,
    ),
    ...(sourceLine === undefined ? {} : { sourceLine: redactLine(sourceLine) }),
  };
}

/**
 * Hides the password of an address, and what stands where the name of a variable or file belongs
 * but is neither. Long runs of mixed letters and digits are hidden already where a line is read.
 */
function redactLine(line: string): string {
  return line
    .replaceAll(/(\w+:\/\/)[^\s/@]+@/g, (_, scheme: string) => `${scheme}••••@`)
    .replaceAll(/(\b(?:env|file)["']?\s*:\s*["']?)([^\s"',}\]]+)/g, (_, before: string, value: string) =>
      isPlainVariableName(value) || /^(\/|\.{1,2}\/|~\/)[\w./-]{1,60}$/.test(value)
        ? before + value
        : before + dots(value),
    );
}

/** Letters and at least four digits within 20 or more characters: a generous guess, a wrong yes only hides a word. */
function isLongAndMixed(text: string): boolean {
  return /^[\w+/=-]{20,}$/.test(text) && text.replaceAll(/\D/g, '').length >= 4 && /[A-Za-z]/.test(text);
}
