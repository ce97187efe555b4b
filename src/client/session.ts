/**
 * The session of a client: the newest token a node gave it. Every answer folds in the token its request carried, so
 * one token stands for everything the client has seen, and reads that carry it see the client's own writes.
 *
 * Calls that overlap cannot fold each other's tokens. A read that did not carry the present token therefore never
 * replaces it (it would forget a write that finished meanwhile); a write does, being the newer promise.
 */
export class Session {
  #token: string | undefined;

  get token(): string | undefined {
    return this.#token;
  }

  set token(token: string | undefined) {
    this.#token = token;
  }

  /** Takes in the token of an answer whose request carried `sent`. */
  fold(token: string, sent: string | undefined, write: boolean): void {
    if (write || this.#token === sent) this.#token = token;
  }
}
