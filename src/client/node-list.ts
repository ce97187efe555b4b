/** The nodes a client may ask, in order. It stays with one until that one fails. */
export class NodeList {
  readonly #urls: readonly string[];
  #current = 0;

  /** @param nodes base URLs, e.g. `http://127.0.0.1:7070`; a path prefix is kept. Throws a TypeError for what is not one. */
  constructor(nodes: readonly string[]) {
    if (nodes.length === 0) throw new TypeError('SpectorClient needs at least one node, e.g. http://127.0.0.1:7070');
    this.#urls = nodes.map(baseUrl);
  }

  get length(): number {
    return this.#urls.length;
  }

  /** The node to ask now. */
  current(): string {
    return this.#urls[this.#current];
  }

  /** Turns to the next node, unless another call already turned away from `failed`. */
  leave(failed: string): void {
    if (this.current() === failed) this.#current = (this.#current + 1) % this.#urls.length;
  }
}

function baseUrl(node: string): string {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(node) ? node : `http://${node}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new TypeError(`not the address of a node: ${JSON.stringify(node)}; expected e.g. http://127.0.0.1:7070`, {
      cause,
    });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError(`not an http(s) address: ${JSON.stringify(node)}`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}
