/** One measured quantity, beside the same of nginx in the same run. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly usher?: number | undefined;
  readonly nginx?: number | undefined;
  /** The design's bound on Usher's figure. */
  readonly budget?: number;
}

/** A table for people: one line a figure, with the ratio to nginx and the budget. */
export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    `${figure.name} (${figure.unit})`,
    shown(figure.usher),
    shown(figure.nginx),
    figure.usher !== undefined && figure.nginx !== undefined && figure.nginx > 0
      ? `${(figure.usher / figure.nginx).toFixed(1)}x`
      : '',
    figure.budget === undefined ? '' : `<= ${figure.budget}${isOver(figure) ? ' OVER' : ''}`,
  ]);
  const all = [['', 'usher', 'nginx', 'ratio', 'budget'], ...rows];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

export function isOver(figure: Figure): boolean {
  return figure.usher !== undefined && figure.budget !== undefined && figure.usher > figure.budget;
}

function shown(value: number | undefined): string {
  if (value === undefined) return '-';
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}
