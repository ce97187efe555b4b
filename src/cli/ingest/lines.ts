/** Longest line kept; a node refuses longer ones. */
export const LINE_BYTES_MAX = 4 * 1024 * 1024;

const NEWLINE = 10;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** One line without its end; `content` is undefined when it was too long to keep. */
export interface RawLine {
  readonly content: Buffer | undefined;
  /** Bytes of the input, line end and byte order mark included. */
  readonly bytes: number;
}

/**
 * The lines of a byte stream, in constant memory. (Not node:readline, which also ends lines at U+2028 and U+2029, and
 * those may stand in JSON.)
 * @param atStart whether the stream begins where its input begins: a byte order mark is left out there
 */
export async function* rawLines(
  chunks: AsyncIterable<Buffer>,
  atStart = true,
): AsyncGenerator<RawLine, void, undefined> {
  let parts: Buffer[] = [];
  let length = 0;
  let first = atStart;
  const keep = (part: Buffer): void => {
    length += part.length;
    if (length > LINE_BYTES_MAX) parts = [];
    else parts.push(part);
  };
  const take = (endBytes: number): RawLine => {
    const whole = length > LINE_BYTES_MAX ? undefined : Buffer.concat(parts);
    const marked = first && whole?.subarray(0, 3).equals(BYTE_ORDER_MARK) === true;
    const line = { content: marked ? whole.subarray(3) : whole, bytes: length + endBytes };
    first = false;
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, at)) {
      keep(chunk.subarray(at, end));
      yield take(1);
      at = end + 1;
    }
    if (at < chunk.length) keep(chunk.subarray(at));
  }
  if (length > 0) yield take(0);
}
