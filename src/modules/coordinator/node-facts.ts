import type { Readiness } from '../../platform/health/readiness.js';
import type { DiskGuard } from '../../platform/resources/disk-guard.js';

/** Facts about this process that only the platform knows. */
export class NodeFacts {
  readonly #startedMs = performance.now();
  #addresses = { http: '', grpc: '' };

  constructor(
    /** Of the package. */
    readonly version: string,
    private readonly readiness: Readiness,
    private readonly diskGuard: DiskGuard,
  ) {}

  get uptimeMs(): number {
    return performance.now() - this.#startedMs;
  }

  get draining(): boolean {
    return this.readiness.stopping;
  }

  get ready(): boolean {
    return this.readiness.ready;
  }

  get disk(): { readonly freeBytes: number; readonly totalBytes: number } {
    return { freeBytes: this.diskGuard.freeBytes, totalBytes: this.diskGuard.totalBytes };
  }

  /** Where it really listens. */
  get addresses(): { readonly http: string; readonly grpc: string } {
    return this.#addresses;
  }

  listensOn(http: string, grpc: string): void {
    this.#addresses = { http, grpc };
  }
}
