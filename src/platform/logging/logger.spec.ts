import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import type { LoggerOptions } from './logger.js';
import { createLogger } from './logger.js';
import { NestLogger } from './nest-logger.js';

function capture(format: LoggerOptions['format'] = 'json', level: LoggerOptions['level'] = 'debug') {
  const lines: string[] = [];
  const destination = new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      lines.push(line);
      done();
    },
  });
  const logger = createLogger({ level, format, nodeId: 'node-1', destination });
  const last = () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown>;
  return { logger, lines, last };
}

describe('the logger', () => {
  it('writes one JSON object a line, with time, level, node and module', () => {
    const { logger, last } = capture();
    logger.child({ module: 'log' }).info({ shard: 1 }, 'opened');
    expect(last()).toMatchObject({ level: 'info', node: 'node-1', module: 'log', shard: 1, msg: 'opened' });
    expect(Number.isNaN(Date.parse(String(last()['time'])))).toBe(false);
  });

  it('keeps the cause chain of an error', () => {
    const { logger, last } = capture();
    logger.error({ error: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    expect(JSON.stringify(last()['error'])).toContain('inner');
  });

  it('never writes a secret, at the top or one level down', () => {
    const { logger, lines } = capture();
    logger.info(
      {
        clusterSecret: 'hush-1',
        config: { clusterSecret: 'hush-2' },
        headers: { authorization: 'hush-3', 'x-api-key': 'hush-4' },
      },
      'x',
    );
    expect(lines.join('')).not.toContain('hush');
  });

  it('stays silent below its level', () => {
    const { logger, lines } = capture('json', 'warn');
    logger.info('not told');
    expect(lines).toEqual([]);
  });

  it('has a form for people', () => {
    const { logger, lines } = capture('pretty');
    logger.child({ module: 'api' }).warn('careful');
    expect(lines.join('')).toMatch(/WARN.*\[api\] careful/);
  });
});

describe('NestLogger', () => {
  it('maps levels and contexts', () => {
    const { logger, last } = capture('json', 'trace');
    const nest = new NestLogger(logger);
    nest.log('mapped {/docs}', 'RouterExplorer');
    expect(last()).toMatchObject({ level: 'debug', module: 'nest/RouterExplorer', msg: 'mapped {/docs}' });
    nest.error('bad', 'Error: bad\n at x', 'ExceptionHandler');
    expect(last()).toMatchObject({ level: 'error', module: 'nest/ExceptionHandler', stack: 'Error: bad\n at x' });
    nest.error(new Error('worse'));
    expect(last()).toMatchObject({ level: 'error', module: 'nest', msg: 'worse' });
    nest.verbose('detail');
    expect(last()).toMatchObject({ level: 'trace' });
  });
});
