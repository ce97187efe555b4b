import type { NodeConfig } from './node-config.js';
import type { SettingName } from './settings.js';
import { SETTING_NAMES, flagOf, settingOf } from './settings.js';

/** The text of `--help`, made of the configuration table. */
export function helpText(): string {
  const rows = SETTING_NAMES.map((name) => ({ name, left: `  ${usage(name)}`, right: explanation(name) }));
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2;
  return [
    'Usage: node dist/main.js [flags]',
    '',
    'A setting is read from its flag, else from its environment variable, else from the YAML file that SPECTOR_CONFIG or',
    '--config names (keys in lower case, e.g. shard_count), else it has its default. Secrets have no flag.',
    '',
    'Settings:',
    ...rows.map(({ left, right }) => left.padEnd(width) + right),
    '',
    '  --config <file>'.padEnd(width) + 'The YAML file',
    '  --help'.padEnd(width) + 'This text',
    '  --version'.padEnd(width) + 'The version',
    '',
    'Durations: 500ms, 2s, 10m, 24h. Sizes: 512MiB, 10GiB, 25%. Switches: true/false, on/off, 1/0, or the flag alone.',
    'Every variable is the name of the flag in capitals after SPECTOR_, e.g. SPECTOR_NODE_ID for --node-id.',
    '',
  ].join('\n');
}

function usage(name: SettingName): string {
  const { value, secret } = settingOf(name);
  return `${secret === true ? `SPECTOR_${name}` : flagOf(name)}${value === '' ? '' : ` ${value}`}`;
}

function explanation(name: SettingName): string {
  const { about, range, fallback } = settingOf(name);
  return `${about} (${range === undefined ? '' : `${range}; `}default ${typeof fallback === 'string' ? fallback : fallback.words})`;
}

/** The effective configuration for the log, secrets masked. */
export function maskedConfig(config: NodeConfig): Readonly<Record<string, unknown>> {
  return {
    ...config,
    clusterSecret: config.clusterSecret === undefined ? undefined : '***',
    apiKeys: config.apiKeys.map(({ name, scope }) => ({ name, scope, sha256: '***' })),
  };
}
