import { toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import {
  AnswerSchema,
  QueryResponseSchema,
  type Answer,
  type QueryResponse,
} from '../../gen/spector/peer/v1/shard_pb.js';

/** Tags of the fields: number and wire type. */
const RESPONSE = { answers: tagOf(1, 2), load: tagOf(2, 0) };
const ANSWER = { id: tagOf(1, 0), body: tagOf(2, 2), more: tagOf(3, 0) };
/** Larger messages are rare, and their memory is not kept. */
const KEPT_BYTES = 1024 * 1024;

let writer = new BinaryWriter();

/**
 * The protobuf bytes of the answers to other nodes' questions, the largest messages that a search sends. `toBinary`
 * grows new memory for each and copies a body three times; this writes into memory that is there.
 */
export function queryResponseBytes(message: QueryResponse): Uint8Array {
  if (message.$unknown !== undefined) return toBinary(QueryResponseSchema, message);
  for (const answer of message.answers) writeAnswer(answer);
  if (message.load !== 0) writer.uint32(RESPONSE.load).uint32(message.load);
  const bytes = writer.finish();
  if (bytes.length > KEPT_BYTES) writer = new BinaryWriter();
  return bytes;
}

function writeAnswer(answer: Answer): void {
  const { id, body, more, failure, $unknown } = answer;
  writer.uint32(RESPONSE.answers);
  if (failure !== undefined || $unknown !== undefined) {
    writer.bytes(toBinary(AnswerSchema, answer));
    return;
  }
  writer.fork();
  if (id !== 0n) writer.uint32(ANSWER.id).uint64(id);
  if (body.length > 0) writer.uint32(ANSWER.body).bytes(body);
  if (more) writer.uint32(ANSWER.more).bool(true);
  writer.join();
}

function tagOf(number: number, wireType: number): number {
  return (number << 3) | wireType;
}
