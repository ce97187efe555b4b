import { assert } from '../../../kernel/assert.js';
import { OP_ID_BYTES, type Version } from '../../../kernel/version.js';

/** The result kept under an idempotency key (replication 2.10); written in the batch of its entry. */
export interface OperationRow {
  readonly offset: number;
  readonly epoch: number;
  readonly version: Version;
  readonly created: boolean;
  /** 16 bytes. */
  readonly fingerprint: Uint8Array;
  /** Wall clock of the write: rows older than 24 h are dropped. */
  readonly writtenMs: number;
}

const BYTES = 8 + 8 + 8 + OP_ID_BYTES + 1 + 16 + 8;

export function encodeOperation(row: OperationRow): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(row.offset));
  view.setBigUint64(8, BigInt(row.epoch));
  view.setUint16(16, Math.floor(row.version.hlc.ms / 2 ** 32));
  view.setUint32(18, row.version.hlc.ms >>> 0);
  view.setUint16(22, row.version.hlc.counter);
  bytes.set(row.version.opId, 24);
  bytes[40] = row.created ? 1 : 0;
  bytes.set(row.fingerprint, 41);
  view.setBigUint64(57, BigInt(row.writtenMs));
  return bytes;
}

export function decodeOperation(bytes: Uint8Array): OperationRow {
  assert(bytes.length === BYTES, `an idempotency row has ${BYTES} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    offset: Number(view.getBigUint64(0)),
    epoch: Number(view.getBigUint64(8)),
    version: {
      hlc: { ms: view.getUint16(16) * 2 ** 32 + view.getUint32(18), counter: view.getUint16(22) },
      opId: bytes.slice(24, 24 + OP_ID_BYTES),
    },
    created: bytes[40] === 1,
    fingerprint: bytes.slice(41, 57),
    writtenMs: Number(view.getBigUint64(57)),
  };
}
