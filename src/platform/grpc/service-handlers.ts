import type { ServerDuplexStream } from '@grpc/grpc-js';
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from '@bufbuild/protobuf';
import type { ServerCall } from './grpc-call.js';

/**
 * The methods of a service as plain functions: what NodeGrpcServer serves beside Nest's controllers. Streams are async
 * iterables, pulled and pushed with back-pressure; a bidirectional stream is handed over raw, since its owner decides
 * what is batched. A handler fails with a NodeError; anything else it throws becomes INTERNAL.
 */
export type ServiceHandlers<S extends DescService> = {
  readonly [K in keyof S['method']]: MethodHandler<S['method'][K]>;
};

export type MethodHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: ServerCall) => Promise<MessageShape<O>> | MessageShape<O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, call: ServerCall) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, call: ServerCall) => Promise<MessageShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (call: ServerDuplexStream<MessageShape<I>, MessageShape<O>>) => void
          : never;
