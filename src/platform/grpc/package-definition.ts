import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import type { DescMessage, DescMethod, DescService, Message } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { QueryResponseSchema, type QueryResponse } from '../../gen/spector/peer/v1/shard_pb.js';
import { queryResponseBytes } from './query-response-bytes.js';

/**
 * The grpc-js definition of a service described by generated code: paths, kinds and binary codecs. Serves servers
 * (`Server.addService`) and clients (`makeClientConstructor`) alike. Requests that are not well-formed protobuf make
 * the deserializer throw; NodeGrpcServer turns that into INVALID_ARGUMENT.
 * @param requestBytesMax refuses larger requests; without it the server's own bound holds
 */
export function serviceDefinition(service: DescService, requestBytesMax?: number): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => {
      const definition = methodDefinition(method);
      if (requestBytesMax === undefined) return [method.name, definition];
      const requestDeserialize = bounded(definition.requestDeserialize, requestBytesMax);
      return [method.name, { ...definition, requestDeserialize }];
    }),
  );
}

/**
 * What a bounded request is read as when it is larger than allowed: NodeGrpcServer refuses it and hands it to nobody.
 * grpc-js keeps to itself why a deserializer threw, so that an error could not say it.
 */
export const OVERSIZED: Message = { $typeName: 'oversized' };

function bounded(deserialize: (frame: Buffer) => Message, bytesMax: number): (frame: Buffer) => Message {
  return (frame) => (frame.length > bytesMax ? OVERSIZED : deserialize(frame));
}

/** The definitions of one method; keyed by its protobuf name in `serviceDefinition`. */
export function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  return {
    path: methodPath(method),
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: serializer(method.input),
    requestDeserialize: deserializer(method.input),
    responseSerialize: serializer(method.output),
    responseDeserialize: deserializer(method.output),
    originalName: method.localName,
  };
}

/** The HTTP/2 path of a method, e.g. `/spector.v1.SpectorService/Search`. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function serializer(schema: DescMessage): (message: Message) => Buffer {
  const bytesOf =
    schema === QueryResponseSchema
      ? (message: Message) => queryResponseBytes(message as QueryResponse)
      : (message: Message) => toBinary(schema, message);
  return (message) => {
    const bytes = bytesOf(message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/** Fields of type bytes are views of the frame: copy what outlives the call, and mind `byteOffset`. */
function deserializer(schema: DescMessage): (frame: Buffer) => Message {
  return (frame) =>
    fromBinary(schema, new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength), { readUnknownFields: false });
}
