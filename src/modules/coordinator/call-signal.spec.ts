import { describe, expect, it } from '@jest/globals';
import { CallSignal } from './call-signal.js';

describe('CallSignal', () => {
  it('tells each listener once, with a reason like the one of an AbortController', () => {
    const signal = new CallSignal();
    const told: string[] = [];
    const listener = (event: Event): void => {
      told.push(event.type);
    };
    signal.addEventListener('abort', listener);
    signal.addEventListener('abort', listener);
    signal.addEventListener('abort', { handleEvent: () => told.push('object') });
    signal.onabort = () => told.push('property');
    signal.addEventListener('other', listener);
    expect(signal.aborted).toBe(false);
    signal.throwIfAborted();
    signal.abort();
    signal.abort();
    expect(told).toEqual(['property', 'abort', 'object']);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ name: 'AbortError' });
    expect(() => signal.throwIfAborted()).toThrow('aborted');
  });

  it('forgets a listener that was taken back, and calls none that comes late', () => {
    const signal = new CallSignal();
    const told: string[] = [];
    const gone = (): void => void told.push('gone');
    const kept = (): void => void told.push('kept');
    signal.addEventListener('abort', gone);
    signal.addEventListener('abort', kept);
    signal.removeEventListener('abort', gone);
    signal.removeEventListener('abort', gone);
    signal.abort(new Error('why'));
    signal.addEventListener('abort', gone);
    expect(told).toEqual(['kept']);
    expect(signal.reason).toEqual(new Error('why'));
  });
});
