import { create } from '@bufbuild/protobuf';
import type { DescService } from '@bufbuild/protobuf';
import { NodeError } from '../../kernel/errors.js';
import type { Health, HealthCheckResponse } from '../../gen/grpc/health/v1/health_pb.js';
import {
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
} from '../../gen/grpc/health/v1/health_pb.js';
import type { Readiness } from '../health/readiness.js';
import { grpcCallContext } from './grpc-call.js';
import type { ServiceHandlers } from './service-handlers.js';

/**
 * grpc.health.v1.Health: SERVING exactly while the node is ready, for the whole node (empty name) and each of `services`.
 * Open to everyone, as /readyz is.
 */
export function grpcHealth(readiness: Readiness, services: readonly DescService[]): ServiceHandlers<typeof Health> {
  const known = new Set(['', ...services.map((service) => service.typeName)]);
  const statusOf = (service: string): ServingStatus => {
    if (!known.has(service)) return ServingStatus.SERVICE_UNKNOWN;
    return readiness.ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  };
  return {
    check({ service }) {
      const status = statusOf(service);
      if (status === ServingStatus.SERVICE_UNKNOWN)
        throw new NodeError('ROUTE_NOT_FOUND', `This node serves no "${service}"`);
      return response(status);
    },
    async *watch({ service }, call) {
      const { signal } = grpcCallContext(call);
      let told: ServingStatus | undefined;
      while (!signal.aborted) {
        const status = statusOf(service);
        if (status === told) {
          await changed(readiness, signal);
        } else {
          told = status;
          yield response(status);
        }
      }
    },
  };
}

function response(status: ServingStatus): HealthCheckResponse {
  return create(HealthCheckResponseSchema, { status });
}

/** Resolves at the next change of readiness, or when the signal aborts. */
function changed(readiness: Readiness, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      leave();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const leave = readiness.onChange(done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
