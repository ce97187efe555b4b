import Table from 'cli-table3';

export interface Column {
  readonly head: string;
  readonly align?: 'left' | 'right';
  /** Longest text of a cell; longer ones are cut with an ellipsis. */
  readonly widthMax?: number;
}

/** A plain table: no colours, no frame around every row, readable in a log too. */
export function table(columns: readonly Column[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = new Table({
    head: columns.map((column) => column.head),
    colAligns: columns.map((column) => column.align ?? 'left'),
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '',
    },
  });
  for (const row of rows) lines.push(row.map((cell, i) => shortened(String(cell), columns[i].widthMax ?? 200)));
  return lines
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** One line of at most `length` characters; control characters become spaces, so that data cannot drive a terminal. */
export function shortened(text: string, length: number): string {
  const line = text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  const characters = Array.from(line);
  return characters.length <= length ? line : `${characters.slice(0, Math.max(1, length - 1)).join('')}…`;
}
