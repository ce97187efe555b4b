import { readFileSync } from 'node:fs';
import type { ServerCredentials } from '@grpc/grpc-js';
import { experimental } from '@grpc/grpc-js';
import { createSecureContext } from 'node:tls';

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

interface Certificates {
  readonly caCertificate: Buffer;
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

type Listener = (update: Certificates | null) => void;

/** The certificates of the gRPC port: mutual TLS, read at the start and again on `reload` (api.md, Security). */
export class GrpcCertificates {
  readonly #files: CertificateFiles;
  readonly #listeners = new Set<Listener>();
  #current: Certificates;

  /** Throws when a file cannot be read or the key does not fit the certificate: never plaintext instead. */
  constructor(files: CertificateFiles) {
    this.#files = files;
    this.#current = read(files);
  }

  /** Server credentials that demand a certificate of the CA from every client, and follow `reload`. */
  credentials(): ServerCredentials {
    const add = (listener: Listener) => {
      this.#listeners.add(listener);
      // Not at once: grpc-js puts the server among those it tells only after it called here.
      queueMicrotask(() => listener(this.#current));
    };
    const remove = (listener: Listener) => void this.#listeners.delete(listener);
    const provider: experimental.CertificateProvider = {
      addCaCertificateListener: add,
      removeCaCertificateListener: remove,
      addIdentityCertificateListener: add,
      removeIdentityCertificateListener: remove,
    };
    return experimental.createCertificateProviderServerCredentials(provider, provider, true);
  }

  /** Reads the files again for new connections; when they are bad it throws and the old ones stay. */
  reload(): void {
    this.#current = read(this.#files);
    for (const listener of [...this.#listeners]) listener(this.#current);
  }
}

function read(files: CertificateFiles): Certificates {
  const certificates = {
    caCertificate: readFileSync(files.ca),
    certificate: readFileSync(files.cert),
    privateKey: readFileSync(files.key),
  };
  createSecureContext({ ca: certificates.caCertificate, cert: certificates.certificate, key: certificates.privateKey });
  return certificates;
}
