import colors from 'picocolors';

/** Lines of columns as wide as their widest cell, under a dimmed head. */
export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all
    .map((row, index) => {
      const line = row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd();
      return `${index === 0 ? colors.dim(line) : line}\n`;
    })
    .join('');
}
