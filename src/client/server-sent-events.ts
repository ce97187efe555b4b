import { textLines } from './ndjson.js';
import type { NodeEvent } from './types/streams.js';

/** The events of a `text/event-stream` (WHATWG HTML, Server-sent events); comments and empty events are skipped. */
export async function* serverSentEvents(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<NodeEvent, void, undefined> {
  let type = '';
  let data: string[] = [];
  let id: string | undefined;
  for await (const line of textLines(stream)) {
    if (line === '') {
      if (data.length > 0)
        yield { type: type || 'message', data: parsed(data.join('\n')), ...(id === undefined ? {} : { id }) };
      type = '';
      data = [];
      continue;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') type = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id') id = value;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // Data that is not JSON is given as it is.
  }
}
