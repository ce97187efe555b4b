/** The cluster does not take this node in, and asking again will not help: the process ends and says why. */
export class MembershipRefusedError extends Error {
  override readonly name = 'MembershipRefusedError';
  constructor(
    readonly reason: 'DUPLICATE_NODE_ID' | 'FOREIGN_CLUSTER' | 'PROTOCOL',
    detail: string,
  ) {
    super(detail);
  }
}
