import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { CallOptions, ClientReadableStream, ClientWritableStream, ServiceError } from '@grpc/grpc-js';
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import { ErrorInfoSchema } from '../../../src/gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../../src/gen/google/rpc/status_pb.js';

/** How a call failed, with the google.rpc.ErrorInfo of its status. */
export interface GrpcFailure {
  /** E.g. INVALID_ARGUMENT. */
  readonly status: string;
  readonly message: string;
  /** The error code of the HTTP contract. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

type Unary<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly methodKind: 'unary';
  readonly input: I;
  readonly output: O;
};
type ServerStreaming<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly methodKind: 'server_streaming';
  readonly input: I;
  readonly output: O;
};
type ClientStreaming<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly methodKind: 'client_streaming';
  readonly input: I;
  readonly output: O;
};

const bytesThrough = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

/** A bare gRPC client on the generated descriptors; bytes can be sent as they are, whole messages or not. */
export class GrpcClient {
  private readonly client: Client;
  private readonly metadata: Metadata;

  /** @param receivedMax bytes of an answer that are taken; all by default, unlike those of other clients */
  constructor(address: string, headers: Readonly<Record<string, string>> = {}, receivedMax = -1) {
    this.client = new Client(address, credentials.createInsecure(), {
      'grpc.max_send_message_length': -1,
      'grpc.max_receive_message_length': receivedMax,
      'grpc.use_local_subchannel_pool': 1,
    });
    this.metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) this.metadata.set(name, value);
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: Unary<I, O>,
    message: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return this.unaryBytes(method, toBinary(method.input, create(method.input, message)), options);
  }

  /** Sends bytes that need not be a message. */
  unaryBytes<I extends DescMessage, O extends DescMessage>(
    method: Unary<I, O>,
    bytes: Uint8Array,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        pathOf(method),
        bytesThrough,
        (answer: Buffer) => fromBinary(method.output, answer),
        bytes,
        this.metadata,
        { deadline: Date.now() + 20_000, ...options },
        (error: ServiceError | null, answer) => {
          if (error !== null) reject(error);
          else if (answer === undefined) reject(new Error('an answer without a message'));
          else resolve(answer);
        },
      );
    });
  }

  serverStream<I extends DescMessage, O extends DescMessage>(
    method: ServerStreaming<I, O>,
    message: MessageInitShape<I>,
  ): ClientReadableStream<MessageShape<O>> {
    return this.client.makeServerStreamRequest(
      pathOf(method),
      bytesThrough,
      (answer: Buffer) => fromBinary(method.output, answer),
      toBinary(method.input, create(method.input, message)),
      this.metadata,
    );
  }

  /** A client stream of raw bytes; `answer` settles when the node answers. */
  clientStream<I extends DescMessage, O extends DescMessage>(
    method: ClientStreaming<I, O>,
  ): { readonly stream: ClientWritableStream<Uint8Array>; readonly answer: Promise<MessageShape<O>> } {
    let stream: ClientWritableStream<Uint8Array> | undefined;
    const answer = new Promise<MessageShape<O>>((resolve, reject) => {
      stream = this.client.makeClientStreamRequest(
        pathOf(method),
        bytesThrough,
        (bytes: Buffer) => fromBinary(method.output, bytes),
        this.metadata,
        { deadline: Date.now() + 60_000 },
        (error: ServiceError | null, value?: MessageShape<O>) => {
          if (error !== null) reject(error);
          else if (value === undefined) reject(new Error('an answer without a message'));
          else resolve(value);
        },
      );
    });
    if (stream === undefined) throw new Error('grpc-js made no stream');
    return { stream, answer };
  }

  close(): void {
    this.client.close();
  }
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** What a rejected call says; fails when it did not fail, or not with a gRPC status. */
export async function failureOf(call: Promise<unknown>): Promise<GrpcFailure> {
  let error: Partial<ServiceError>;
  try {
    await call;
    throw new Error('the call succeeded');
  } catch (thrown) {
    error = thrown as Partial<ServiceError>;
  }
  if (error.code === undefined || error.metadata === undefined) throw error as Error;
  const info = errorInfoOf(error.metadata);
  return {
    status: status[error.code],
    message: error.details ?? '',
    reason: info?.reason,
    metadata: info?.metadata ?? {},
  };
}

function errorInfoOf(metadata: Metadata) {
  const [bytes] = metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(bytes)) return undefined;
  for (const detail of fromBinary(StatusSchema, bytes).details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) return info;
  }
  return undefined;
}

/** Little-endian float32, as vectors travel. */
export function vectorBytes(values: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeFloatLE(value, 4 * i));
  return bytes;
}

export function vectorOf(bytes: Uint8Array | undefined): number[] {
  if (bytes === undefined) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
