/** A text is written out at least each time that it grew by so many characters. */
const ropeCharactersMax = 512;
/** Of a piece as long as this, what is noted is little beside it; and a piece that is kept is shared with whoever else keeps it. */
const longPiece = 64;

/**
 * `text` with `piece` at its end. V8 only notes that the two belong together: some 60 bytes for each
 * piece of an answer that comes token by token, until somebody reads the text. It is read here as it
 * grows, so that an answer in the making holds little more than its characters: by parts of its own
 * length, so that the time is that of writing it once or twice.
 */
export function appendText(text: string, piece: string): string {
  const grown = text + piece;
  if (piece.length >= longPiece) return grown;
  const step = Math.max(ropeCharactersMax, 2 ** Math.floor(Math.log2(grown.length)) / 4);
  if (Math.floor(grown.length / step) !== Math.floor(text.length / step)) written += grown.charCodeAt(0) & 1;
  return grown;
}

/** What is read has to be used: a compiler leaves out what nobody looks at. */
let written = 0;
