import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Metadata } from '@grpc/grpc-js';
import { assert } from '../../../kernel/assert.js';
import type { GatedCall } from '../auth/request-gate.js';
import { RequestGate } from '../auth/request-gate.js';
import { secretOf } from '../auth/api-keys.js';

const GATED_CALL = 'spector:gated-call';

/** What a gRPC method needs; every one of them says so. */
export function Gated(scope: GatedCall['scope'], always = false): MethodDecorator {
  return SetMetadata(GATED_CALL, { scope, always } satisfies GatedCall);
}

/** The gate of the HTTP edge before gRPC methods: API keys travel as metadata of the same names (api.md, Security). */
@Injectable()
export class GrpcAuthGuard implements CanActivate {
  constructor(
    @Inject(RequestGate) private readonly gate: RequestGate,
    @Inject(Reflector) private readonly reflector: Reflector,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const call = this.reflector.get<GatedCall | undefined>(GATED_CALL, context.getHandler());
    assert(call !== undefined, 'every gRPC method says which scope it needs');
    const metadata = context.getArgByIndex<Metadata>(1);
    const refusal = this.gate.refusal(call, secretOf(first(metadata, 'x-api-key'), first(metadata, 'authorization')));
    if (refusal !== undefined) throw refusal;
    return true;
  }
}

function first(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return value === undefined ? undefined : String(value);
}
