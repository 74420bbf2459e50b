/** Characters of one passage: about 300 tokens, so that six of them leave room in a small context. */
export const passageCharactersMax = 1200;

/** A stretch of text that belongs together, with what a part of it needs around it to be read alone. */
export interface Block {
  readonly text: string;
  /** Repeated above each part where the block is split: a table's head, a code fence. */
  readonly before?: string;
  readonly after?: string;
}

/** Neighbouring blocks together up to the length of a passage; a block that is longer alone is split. */
export function packBlocks(blocks: readonly Block[]): readonly string[] {
  const passages: string[] = [];
  let current = '';
  for (const block of blocks) {
    for (const part of splitBlock(block)) {
      if (current !== '' && current.length + part.length + 2 > passageCharactersMax) {
        passages.push(current);
        current = '';
      }
      current = current === '' ? part : `${current}\n\n${part}`;
    }
  }
  return current === '' ? passages : [...passages, current];
}

function splitBlock(block: Block): readonly string[] {
  const { before = '', after = '' } = block;
  const whole = `${before}${block.text}${after}`.trimEnd();
  if (whole.trim() === '') return [];
  if (whole.length <= passageCharactersMax) return [whole];
  const room = Math.max(passageCharactersMax - before.length - after.length, 200);
  return joinUpTo(pieces(block.text, room), room).map((part) => `${before}${part.trimEnd()}${after}`.trimEnd());
}

/** Lines; of a line that is too long, sentences; of a sentence that is too long, cuts between code points. */
function pieces(text: string, room: number): string[] {
  return text.split(/(?<=\n)/u).flatMap((line) => {
    if (line.length <= room) return [line];
    return line.split(/(?<=[.!?。！？]\s?)(?=\S)/u).flatMap((sentence) => cut(sentence, room));
  });
}

function cut(text: string, room: number): string[] {
  const parts: string[] = [];
  let rest = text;
  while (rest.length > room) {
    const space = rest.lastIndexOf(' ', room);
    let end = space > room / 2 ? space + 1 : room;
    // Never between the halves of a surrogate pair.
    if (rest.charCodeAt(end - 1) >= 0xd800 && rest.charCodeAt(end - 1) <= 0xdbff) end -= 1;
    parts.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  return [...parts, rest];
}

function joinUpTo(parts: readonly string[], room: number): string[] {
  const joined: string[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (last !== undefined && last.length + part.length <= room) joined[joined.length - 1] = last + part;
    else joined.push(part);
  }
  return joined;
}
