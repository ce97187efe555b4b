import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

/** A certificate in a PEM file, with what comes after it; also one whose end is missing. */
const CERTIFICATE = /-----BEGIN (?:[A-Z0-9]+ )?CERTIFICATE-----[^]*?(?=-----BEGIN|$)/g;

/** What PEM files of a port hold. */
export interface CertificateTexts {
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

/** Throws when key and certificate do not fit, or the CA file does not hold certificates: OpenSSL passes over those. */
export function checkCertificates({ cert, key, ca }: CertificateTexts): void {
  createSecureContext({ cert, key, ca });
  if (ca === undefined) return;
  const found = ca.match(CERTIFICATE) ?? [];
  if (found.length === 0) throw new Error('the file of the CA holds no certificate');
  for (const [i, text] of found.entries()) {
    try {
      new X509Certificate(text);
    } catch (error) {
      throw new Error(`certificate ${i + 1} in the file of the CA is none: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}
