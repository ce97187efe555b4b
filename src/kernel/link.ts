/** One end of a stream between two nodes. */
export interface Link<Sent> {
  /** False when the message waits in a buffer: hold back until `drained` resolves. After the end it does nothing. */
  send(message: Sent): boolean;
  /** Resolves when the buffer is empty, or the stream has ended. */
  drained(): Promise<void>;
  /** Ends it in good order; `ended` is not called for it. */
  close(): void;
}

export interface LinkEvents<Received> {
  message(message: Received): void;
  /** The other side closed it, or it broke; called once, and nothing after it. */
  ended(error: Error | undefined): void;
}
