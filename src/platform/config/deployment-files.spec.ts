import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from './load-config.js';
import type { Machine } from './machine.js';
import { SETTINGS, SETTING_NAMES, settingOf } from './settings.js';

const root = join(import.meta.dirname, '../../..');
const machine: Machine = {
  hostname: () => 'host',
  cores: () => 2,
  memoryBytes: () => 2 ** 32,
  diskBytes: () => 2 ** 36,
  isTerminal: () => false,
};
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const load = (env: Record<string, string>) => loadConfig({ argv: [], env, readFile: read, machine });

const VARIABLES = new Set([
  'SPECTOR_CONFIG',
  ...SETTING_NAMES.flatMap((name) => [name, ...(settingOf(name).aliases ?? [])].map((one) => `SPECTOR_${one}`)),
]);

describe('the files in docker/', () => {
  const files = readdirSync(join(root, 'docker'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));

  it.each(files)('%s names no variable that is none', (file) => {
    const named = new Set(read(file).match(/SPECTOR_[A-Z_]*[A-Z]/g) ?? []);
    expect([...named].filter((variable) => !VARIABLES.has(variable))).toEqual([]);
  });

  it.each(files.filter((file) => file.endsWith('.yaml')))('%s is well-formed', (file) => {
    const documents = parseAllDocuments(read(file), { merge: true, uniqueKeys: true });
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
  });

  it('compose three nodes with valid settings, which name each other', () => {
    const compose = documentsOf('docker/compose.yaml')[0] as {
      services: Record<string, { environment: Record<string, string>; volumes: string[] }>;
    };
    const configs = Object.values(compose.services).map(({ environment }) => load(environment));
    expect(configs.map(({ nodeId }) => nodeId)).toEqual(['node-1', 'node-2', 'node-3']);
    for (const { clusterMode, seeds, advertise } of configs) {
      expect(clusterMode).toBe(true);
      expect(seeds.map(({ host, port }) => `${host}:${port}`)).toContain(advertise);
    }
    expect(new Set(Object.values(compose.services).flatMap(({ volumes }) => volumes)).size).toBe(3);
  });

  it('lay certificates over the nodes, each with its own', () => {
    const overlay = documentsOf('docker/compose.tls.yaml')[0] as {
      services: Record<string, { environment: Record<string, string> }>;
    };
    const plain = documentsOf('docker/compose.yaml')[0] as { services: Record<string, unknown> };
    expect(Object.keys(overlay.services)).toEqual(Object.keys(plain.services));
    for (const [node, { environment }] of Object.entries(overlay.services)) {
      expect(environment).toEqual({
        SPECTOR_GRPC_TLS: 'on',
        SPECTOR_GRPC_CA: '/tls/ca.pem',
        SPECTOR_GRPC_CERT: `/tls/${node}.pem`,
        SPECTOR_GRPC_KEY: `/tls/${node}-key.pem`,
      });
    }
  });

  it('give Kubernetes valid settings, probes and a disruption budget', () => {
    const documents = documentsOf('docker/kubernetes.yaml') as { kind: string; spec: Record<string, never> }[];
    expect(documents.map(({ kind }) => kind).sort()).toEqual([
      'PodDisruptionBudget',
      'Service',
      'Service',
      'StatefulSet',
    ]);
    const set = documents.find(({ kind }) => kind === 'StatefulSet') as unknown as StatefulSet;
    const { template, replicas, serviceName } = set.spec;
    expect(template.spec.enableServiceLinks).toBe(false);
    const [container] = template.spec.containers;
    const env: Record<string, string> = {};
    for (const { name, value, valueFrom } of container.env) {
      if (value !== undefined) env[name] = value.replaceAll('$(SPECTOR_NODE_ID)', 'spector-1');
      else if (valueFrom?.secretKeyRef === undefined) env[name] = 'spector-1';
    }
    const config = load(env);
    expect(config.seeds).toHaveLength(replicas);
    expect(config.seeds.map(({ host, port }) => `${host}:${port}`)).toContain(config.advertise);
    expect(config.advertise).toBe(`spector-1.${serviceName}:9090`);
    expect(container.livenessProbe.httpGet.path).toBe('/livez');
    expect(container.readinessProbe.httpGet.path).toBe('/readyz');
    expect(template.spec.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(config.drainTimeoutMs);
  });

  it('expose the default ports, on all addresses, as a user without rights', () => {
    const image = read('docker/Dockerfile');
    expect(image).toContain(`EXPOSE ${SETTINGS.PORT.fallback as string} ${SETTINGS.GRPC_PORT.fallback as string}\n`);
    expect(image).toMatch(/^ENV .*SPECTOR_HOST=0\.0\.0\.0 SPECTOR_DATA_DIR=\/data$/m);
    expect(image).toMatch(/^USER node$/m);
    expect(image).toMatch(/^HEALTHCHECK /m);
  });
});

function documentsOf(file: string): unknown[] {
  return parseAllDocuments(read(file), { merge: true }).map((document) => document.toJS() as unknown);
}

interface StatefulSet {
  readonly spec: {
    readonly replicas: number;
    readonly serviceName: string;
    readonly template: {
      readonly spec: {
        readonly enableServiceLinks: boolean;
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly {
          readonly env: readonly {
            readonly name: string;
            readonly value?: string;
            readonly valueFrom?: { readonly secretKeyRef?: unknown };
          }[];
          readonly livenessProbe: { readonly httpGet: { readonly path: string } };
          readonly readinessProbe: { readonly httpGet: { readonly path: string } };
        }[];
      };
    };
  };
}
