import { readFileSync } from 'node:fs';
import type { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { experimental } from '@grpc/grpc-js';
import type { PeerCertificate, SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import { checkCertificates } from '../crypto/check-certificates.js';

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

  /** Throws when a file cannot be read, the key does not fit the certificate or the CA is none: never plaintext instead. */
  constructor(files: CertificateFiles) {
    this.#files = files;
    this.#current = read(files);
  }

  /** Server credentials that demand a certificate of the CA from every client, and follow `reload`. */
  credentials(): ServerCredentials {
    const provider = this.#provider();
    return experimental.createCertificateProviderServerCredentials(provider, provider, true);
  }

  /**
   * Channel credentials that present this node's certificate, demand one of the CA from the server, and follow `reload`.
   * @param problem what else is wrong with the server's certificate, or undefined; its host name is not looked at
   */
  channelCredentials(problem: (certificate: PeerCertificate) => Error | undefined): ChannelCredentials {
    const provider = this.#provider();
    return experimental.createCertificateProviderChannelCredentials(provider, provider, {
      checkServerIdentity: (_host, certificate) => problem(certificate),
    });
  }

  /** For a connection of one's own. */
  secureContext(): SecureContext {
    const { caCertificate, certificate, privateKey } = this.#current;
    return createSecureContext({ ca: caCertificate, cert: certificate, key: privateKey });
  }

  #provider(): experimental.CertificateProvider {
    const add = (listener: Listener) => {
      this.#listeners.add(listener);
      // Not at once: grpc-js puts the server among those it tells only after it called here.
      queueMicrotask(() => listener(this.#current));
    };
    const remove = (listener: Listener) => void this.#listeners.delete(listener);
    return {
      addCaCertificateListener: add,
      removeCaCertificateListener: remove,
      addIdentityCertificateListener: add,
      removeIdentityCertificateListener: remove,
    };
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
  checkCertificates({
    ca: certificates.caCertificate.toString(),
    cert: certificates.certificate.toString(),
    key: certificates.privateKey.toString(),
  });
  return certificates;
}
