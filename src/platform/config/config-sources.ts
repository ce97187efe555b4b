import { parseDocument, type SchemaOptions } from 'yaml';
import { BOOLEANS } from './parsers.js';
import type { SettingName } from './settings.js';
import { SETTING_NAMES, fileKeyOf, flagOf, settingOf } from './settings.js';

/** The text given for a setting, and where, for the sentence that says what is wrong with it. */
export interface GivenText {
  readonly text: string;
  /** E.g. `--port`, `SPECTOR_PORT` or `port in node.yaml`. */
  readonly origin: string;
}

/** What one source gives; `problems` are sentences. */
export interface SourceReading {
  readonly given: ReadonlyMap<SettingName, GivenText>;
  readonly problems: readonly string[];
  /** Path of the configuration file, where this source names one. */
  readonly file?: string;
}

const FLAGS: ReadonlyMap<string, SettingName> = new Map(
  SETTING_NAMES.filter((name) => settingOf(name).secret !== true).map((name) => [flagOf(name), name]),
);
const SECRET_FLAGS: ReadonlyMap<string, SettingName> = new Map(
  SETTING_NAMES.filter((name) => settingOf(name).secret === true).map((name) => [flagOf(name), name]),
);
const FILE_KEYS: ReadonlyMap<string, SettingName> = new Map(SETTING_NAMES.map((name) => [fileKeyOf(name), name]));

/** `--flag value`, `--flag=value`, and `--switch` alone for a boolean. */
export function readFlags(argv: readonly string[]): SourceReading {
  const given = new Map<SettingName, GivenText>();
  const problems: string[] = [];
  let file: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = splitOnce(argv[i]);
    const name = FLAGS.get(flag);
    if (name === undefined && flag !== '--config') {
      problems.push(unknownFlag(flag));
      continue;
    }
    const isSwitch = name !== undefined && settingOf(name).value === '';
    const next = argv.at(i + 1);
    let text = inline;
    if (
      text === undefined &&
      next !== undefined &&
      (isSwitch ? BOOLEANS.has(next.toLowerCase()) : !next.startsWith('--'))
    ) {
      text = next;
      i++;
    }
    text ??= isSwitch ? 'true' : undefined;
    if (text === undefined) problems.push(`${flag} needs a value`);
    else if (name === undefined) file = text;
    // Given again, the last one counts: so a script can append to a command that is written down.
    else given.set(name, { text, origin: flag });
  }
  return file === undefined ? { given, problems } : { given, problems, file };
}

function splitOnce(argument: string): [string, string | undefined] {
  const at = argument.indexOf('=');
  return argument.startsWith('--') && at > 0 ? [argument.slice(0, at), argument.slice(at + 1)] : [argument, undefined];
}

function unknownFlag(flag: string): string {
  const secret = SECRET_FLAGS.get(flag);
  if (secret !== undefined) return `${flag} is no flag: other users could read it; set SPECTOR_${secret}`;
  return flag.startsWith('-')
    ? `${flag} is not a known flag; --help lists them`
    : `"${flag}" is neither a flag nor the value of one`;
}

/** SPECTOR_… variables; an empty one counts as not set, as templates of containers leave them. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): SourceReading {
  const given = new Map<SettingName, GivenText>();
  const problems: string[] = [];
  for (const name of SETTING_NAMES) {
    const found = [name, ...(settingOf(name).aliases ?? [])]
      .map((one) => `SPECTOR_${one}`)
      .filter((variable) => isSet(env[variable]));
    if (found.length > 1) problems.push(`${found.join(' and ')} are the same setting: set one`);
    const variable = found.at(0);
    if (variable !== undefined) given.set(name, { text: env[variable] ?? '', origin: variable });
  }
  const file = env['SPECTOR_CONFIG'];
  return file === undefined || file === '' ? { given, problems } : { given, problems, file };
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}

/**
 * The YAML file: a mapping of keys like `shard_count` to scalars; lists may be sequences. A null counts as not set.
 * @param readText reads the file as UTF-8; what it throws becomes a problem
 */
export function readConfigFile(path: string, readText: (path: string) => string): SourceReading {
  const given = new Map<SettingName, GivenText>();
  const problems: string[] = [];
  let content: unknown;
  try {
    // Scalars stay the texts they are in the file: 007 is a name, and a secret of twenty digits is no number.
    const options: SchemaOptions = { schema: 'failsafe', customTags: ['null'] };
    const document = parseDocument(readText(path), { ...options, uniqueKeys: true });
    for (const error of document.errors) problems.push(`${path}: ${error.message.split('\n', 1)[0]}`);
    content = document.errors.length > 0 ? null : document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    problems.push(`The configuration file ${path} cannot be read: ${(error as Error).message}`);
    return { given, problems };
  }
  if (content === null || content === undefined) return { given, problems };
  if (typeof content !== 'object' || Array.isArray(content)) {
    problems.push(`${path} must be a mapping of settings`);
    return { given, problems };
  }
  for (const [key, value] of Object.entries(content)) {
    const name = FILE_KEYS.get(key);
    const text = scalarText(value);
    if (name === undefined) problems.push(`"${key}" in ${path} is not a known setting`);
    else if (text === undefined) problems.push(`${key} in ${path} must be a single value or a list of texts`);
    else if (text !== '') given.set(name, { text, origin: `${key} in ${path}` });
  }
  return { given, problems };
}

/** The text of a scalar or of a sequence of texts; empty for null and no texts; undefined for anything else. */
function scalarText(value: unknown): string | undefined {
  if (value === null) return '';
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || !value.every((item): item is string => typeof item === 'string')) return undefined;
  const text = value.join(',');
  // One empty text is not no text: it is refused like the `,` of two.
  return text === '' && value.length > 0 ? ',' : text;
}
