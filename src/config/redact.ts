import type { Problem } from '#base';

const dots = (found: string): string => '•'.repeat(Math.min(found.length, 40));

/** A name that a person gives a variable, and that no key of a known service looks like. */
export function isPlainVariableName(text: string): boolean {
  return text.length <= 64 && /^[A-Z]{1,24}\d{0,2}(_[A-Z0-9]{1,24})*$/.test(text) && !isLongAndMixed(text);
}

/** A problem as it may be shown: whatever in its line or message could be a pasted secret is hidden. */
export function redactProblem(problem: Problem): Problem {
  const { sourceLine, message, ...rest } = problem;
  const shownLine = sourceLine === undefined || message.startsWith(literalSecret) ? undefined : redactLine(sourceLine);
  return {
    ...rest,
    message: message.replaceAll(/"([^"]+)"/g, (whole, word: string) =>
      isLongAndMixed(word) ? `"${dots(word)}"` : whole,
    ),
    ...(shownLine === undefined ? {} : { sourceLine: shownLine }),
  };
}

/** How every complaint about a secret in the open begins; the line it stands on is not shown at all. */
export const literalSecret = 'a secret must not be written in this file';

const credentialWord = /(?:key|keys|token|secret|passw\w*|credentials?|env|file|command)["']?\s*:/i;
/** What may stand behind such a word without being a secret. */
const harmless = /^(env|file|command|name|kind|model|url|value|openai|azure-openai|openai-compatible)$/;
const pathLike = /^(\/|\.{1,2}\/|~\/)[\w./-]{1,60}$/;

/**
 * Hides the password of an address and, behind a word for a credential, all but names of variables
 * and paths. Long runs of mixed letters and digits are hidden already where a line is read. A wrong
 * guess only hides a word.
 */
function redactLine(line: string): string {
  const open = line.replaceAll(/(\w+:\/\/)[^\s/@]+@/g, (_, scheme: string) => `${scheme}••••@`);
  const from = open.search(credentialWord);
  if (from === -1) return open;
  const behind = from + credentialWord.exec(open)![0].length;
  return (
    open.slice(0, behind) +
    open
      .slice(behind)
      .replaceAll(/[^\s{}[\],"':]{4,}/g, (word) =>
        harmless.test(word) || isPlainVariableName(word) || pathLike.test(word) ? word : dots(word),
      )
  );
}

/** Letters and at least four digits within 20 or more characters. */
function isLongAndMixed(text: string): boolean {
  return /^[\w+/=-]{20,}$/.test(text) && text.replaceAll(/\D/g, '').length >= 4 && /[A-Za-z]/.test(text);
}
