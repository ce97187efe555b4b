import { fromHex, toHex } from '../../../kernel/bytes.js';
import { UUID_BYTES, type Epoch } from '../../../kernel/epoch.js';
import type { ReplicaRole, ShardPosition } from './protocol.js';

/**
 * Positions as heartbeats carry them; big-endian. Per shard: shard u32, role u8, flags u8 (1 in sync, 2 faulted, 4 knows
 * a leader, 8 held), epoch num u64 and uuid, leader uuid, setEpoch and settled u64, last epoch and agreed epoch num u64 and uuid
 * each, then lastStart, lastOffset, agreed, durable, applied, loose, documents and lagMs, u64 each.
 */
const BYTES = 4 + 1 + 1 + (8 + UUID_BYTES) + UUID_BYTES + 2 * 8 + 2 * (8 + UUID_BYTES) + 8 * 8;
const ROLES: readonly ReplicaRole[] = ['primary', 'replica', 'learner'];
const NOBODY = new Uint8Array(UUID_BYTES);

export function encodePositions(positions: readonly ShardPosition[]): Uint8Array {
  const bytes = new Uint8Array(positions.length * BYTES);
  const view = new DataView(bytes.buffer);
  positions.forEach((position, i) => {
    let at = i * BYTES;
    const number = (value: number): void => {
      view.setBigUint64(at, BigInt(Math.max(0, Math.floor(value))));
      at += 8;
    };
    const uuid = (value: Uint8Array): void => {
      bytes.set(value, at);
      at += UUID_BYTES;
    };
    view.setUint32(at, position.shard);
    bytes[at + 4] = ROLES.indexOf(position.role);
    bytes[at + 5] =
      (position.inSync ? 1 : 0) |
      (position.faulted ? 2 : 0) |
      (position.leader === '' ? 0 : 4) |
      (position.held ? 8 : 0);
    at += 6;
    number(position.epoch.num);
    uuid(position.epoch.uuid);
    uuid(position.leader === '' ? NOBODY : (fromHex(position.leader) ?? NOBODY));
    number(position.setEpoch);
    number(position.settled);
    number(position.lastEpoch.num);
    uuid(position.lastEpoch.uuid);
    number(position.agreedEpoch.num);
    uuid(position.agreedEpoch.uuid);
    for (const value of [position.lastStart, position.lastOffset, position.agreed]) number(value);
    for (const value of [position.durable, position.applied]) number(value);
    for (const value of [position.loose, position.documents, position.lagMs]) number(value);
  });
  return bytes;
}

/** The positions by shard, or undefined when the bytes are none: then nothing of them is used. */
export function decodePositions(bytes: Uint8Array): ReadonlyMap<number, ShardPosition> | undefined {
  if (bytes.length % BYTES !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const positions = new Map<number, ShardPosition>();
  for (let from = 0; from < bytes.length; from += BYTES) {
    let at = from + 6;
    const number = (): number => {
      const value = Number(view.getBigUint64(at));
      at += 8;
      return value;
    };
    const uuid = (): Uint8Array => {
      at += UUID_BYTES;
      return new Uint8Array(bytes.subarray(at - UUID_BYTES, at));
    };
    const epoch = (): Epoch => ({ num: number(), uuid: uuid() });
    const shard = view.getUint32(from);
    const role = ROLES.at(bytes[from + 4]);
    const flags = bytes[from + 5];
    const led = epoch();
    const leader = toHex(uuid());
    const setEpoch = number();
    const settled = number();
    const [lastEpoch, agreedEpoch] = [epoch(), epoch()];
    const [lastStart, lastOffset, agreed] = [number(), number(), number()];
    const [durable, applied, loose, documents, lagMs] = [number(), number(), number(), number(), number()];
    const epochs = [led.num, setEpoch, settled, lastEpoch.num, agreedEpoch.num];
    const numbers = [...epochs, lastStart, lastOffset, agreed, durable, applied, loose, documents, lagMs];
    if (role === undefined || !numbers.every((value) => Number.isSafeInteger(value))) return undefined;
    positions.set(shard, {
      shard,
      role,
      epoch: led,
      leader: (flags & 4) === 0 ? '' : leader,
      setEpoch,
      settled,
      lastEpoch,
      lastStart,
      lastOffset,
      agreedEpoch,
      agreed,
      durable,
      applied,
      inSync: (flags & 1) !== 0,
      faulted: (flags & 2) !== 0,
      held: (flags & 8) !== 0,
      loose,
      documents,
      lagMs,
    });
  }
  return positions;
}
