import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import type { DescMessage, DescMethod, DescService, Message } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';

/**
 * The grpc-js definition of a service described by generated code: paths, kinds and binary codecs. Serves servers
 * (`Server.addService`) and clients (`makeClientConstructor`) alike. Requests that are not well-formed protobuf make
 * the deserializer throw; NodeGrpcServer turns that into INVALID_ARGUMENT.
 */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.name, methodDefinition(method)]));
}

/** The definitions of one method; keyed by its protobuf name in `serviceDefinition`. */
function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
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
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/** Fields of type bytes are views of the frame: copy what outlives the call, and mind `byteOffset`. */
function deserializer(schema: DescMessage): (frame: Buffer) => Message {
  return (frame) =>
    fromBinary(schema, new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength), { readUnknownFields: false });
}
