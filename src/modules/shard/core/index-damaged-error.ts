/** The bytes of a stored index are not what `serialize` wrote. The index is rebuilt from the log instead. */
export class IndexDamagedError extends Error {
  override readonly name = 'IndexDamagedError';
}
