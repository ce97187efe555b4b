import type { RpcExceptionFilter } from '@nestjs/common';
import { Catch } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { throwError } from 'rxjs';

/**
 * Hands errors of gRPC controllers and guards to NodeGrpcServer as they are; without it Nest would replace each by
 * "Internal server error". The server maps them, once.
 */
@Catch()
export class GrpcErrorFilter implements RpcExceptionFilter {
  catch(exception: unknown): Observable<never> {
    return throwError(() => exception);
  }
}
