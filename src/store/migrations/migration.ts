/** What a column is called on the database at hand. */
export interface ColumnTypes {
  readonly text: string;
  readonly integer: string;
  readonly bytes: string;
  /** A number that the database gives each row, in order of insertion. */
  readonly rowId: string;
  readonly table: (name: string, columns: string) => string;
}

export interface Migration {
  readonly number: number;
  readonly name: string;
  /** The oldest schema whose programs still work on the result, so that nodes can be upgraded one by one. */
  readonly readableFrom: number;
  readonly statements: (types: ColumnTypes) => readonly string[];
}
