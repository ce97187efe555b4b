import { describe, expect, it } from '@jest/globals';
import { OFFER_BYTES_MAX, OfferWindow } from './offer-window.js';

describe('OfferWindow', () => {
  it('is open for so much ahead of what the primary has taken, before it has said anything as well', () => {
    const window = new OfferWindow();
    window.offered(OFFER_BYTES_MAX - 1);
    expect(window.isOpen).toBe(true);
    window.offered(1);
    expect(window.isOpen).toBe(false);
    window.told(0);
    expect(window.isOpen).toBe(false);
    window.told(1);
    expect(window.isOpen).toBe(true);
    window.offered(100);
    expect(window.isOpen).toBe(false);
    window.told(OFFER_BYTES_MAX + 100);
    expect(window.isOpen).toBe(true);
  });

  it('waits for no primary that does not count what it takes', () => {
    const window = new OfferWindow();
    window.offered(10 * OFFER_BYTES_MAX);
    window.told(undefined);
    expect(window.isOpen).toBe(true);
  });
});
