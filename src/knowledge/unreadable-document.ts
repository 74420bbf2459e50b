/** Why a document cannot be read, in a sentence for its owner that says the mend. */
export class UnreadableDocument extends Error {
  override readonly name = 'UnreadableDocument';
}
