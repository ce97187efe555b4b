import { describe, expect, it } from '@jest/globals';
import { Listeners } from './listeners.js';

describe('Listeners', () => {
  it('tells each in the order they came, until it ends', () => {
    const listeners = new Listeners<[shard: number]>();
    const told: string[] = [];
    const end = listeners.add((shard) => told.push(`a ${shard}`));
    listeners.add((shard) => told.push(`b ${shard}`));
    listeners.tell(1);
    end();
    end();
    listeners.tell(2);
    expect(told).toEqual(['a 1', 'b 1', 'b 2']);
    expect(listeners.size).toBe(1);
  });

  it('tells one that comes meanwhile only the next time', () => {
    const listeners = new Listeners();
    let told = 0;
    listeners.add(() => {
      if (told === 0) listeners.add(() => (told += 10));
      told++;
    });
    listeners.tell();
    expect(told).toBe(1);
    listeners.tell();
    expect(told).toBe(12);
  });

  it('does not tell one that ended meanwhile', () => {
    const listeners = new Listeners();
    const told: string[] = [];
    listeners.add(() => {
      told.push('a');
      endB();
    });
    const endB = listeners.add(() => told.push('b'));
    listeners.tell();
    expect(told).toEqual(['a']);
  });
});
