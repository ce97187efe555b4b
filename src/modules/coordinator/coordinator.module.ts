import { Module, type DynamicModule } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import { systemTimers } from '../../platform/clock/system-timers.js';
import { NODE_CONFIG, type NodeConfig } from '../../platform/config/node-config.js';
import { Readiness } from '../../platform/health/readiness.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { LOGGER, type Logger } from '../../platform/logging/logger.js';
import { CLOCK, HASHER, NODE_VERSION, RANDOM } from '../../platform/platform.module.js';
import { DiskGuard } from '../../platform/resources/disk-guard.js';
import { MemoryGuard } from '../../platform/resources/memory-guard.js';
import type { LogStore } from '../log/log-store.js';
import { LOG_STORE } from '../log/log.module.js';
import { ReplicationService } from '../replication/replication.service.js';
import { nodeByUuid } from '../ring/core/map.js';
import { ShardService } from '../shard/shard.service.js';
import { CatalogService } from './catalog.service.js';
import { ClusterService } from './cluster.service.js';
import { CATALOG, CLUSTER, DOCUMENTS, EVENTS, SEARCH, STREAMS, type EventsPort } from './coordinator.js';
import { DocumentReader } from './document-reader.js';
import { DocumentsService } from './documents.service.js';
import { EventsService } from './events.service.js';
import { NodeAdmission } from './node-admission.js';
import { NodeFacts } from './node-facts.js';
import { ClusterKeys } from './cluster-keys.js';
import { CLUSTER_OPERATIONS } from './cluster-operations.js';
import { FanOut } from './fan-out.js';
import { LocalShards } from './local-shards.js';
import { ForwardedMapChanges, MAP_CHANGES, type MapChanges } from './map-changes.js';
import { ClusterMembers } from './cluster-members.js';
import { ClusterEvents } from './cluster-events.js';
import { MEMBERS, type Members } from './members.js';
import { PlannedOperations } from './planned-operations.js';
import { ForcedMap } from '../replication/forced-map.js';
import { OperationCalls } from '../replication/operations/operation-calls.js';
import { ClusterPlace } from '../replication/cluster-place.js';
import { ClusterRoutes } from './cluster-routes.js';
import { PlaceQueryLinks } from './adapters/place-query-links.js';
import { ShardCallClients } from './shard-call-client.js';
import { ShardCallServer } from './shard-call-server.js';
import { RelayingShards } from './relaying-shards.js';
import { REPLICA_GATE, ReplicationGate, type ReplicaGate } from './replica-gate.js';
import { ROUTES, type Routes } from './routes.js';
import { PEER_SHARDS, type PeerShards } from './shard-access.js';
import { WinnerFetch } from './winner-fetch.js';
import { WriteRouter } from './write-router.js';
import { SearchService } from './search.service.js';
import { Sessions } from './session.js';
import { StreamsService } from './streams.service.js';
import { Writer } from './writer.js';

/** One client request across shards. */
@Module({})
export class CoordinatorModule {
  static of(
    platform: DynamicModule,
    log: DynamicModule,
    shard: DynamicModule,
    replication: DynamicModule,
  ): DynamicModule {
    return {
      module: CoordinatorModule,
      imports: [platform, log, shard, replication],
      providers: [
        {
          provide: Sessions,
          inject: [ReplicationService],
          useFactory: (service: ReplicationService) => new Sessions(service.map),
        },
        {
          provide: DocumentReader,
          inject: [ReplicationService, LOG_STORE],
          useFactory: (service: ReplicationService, store: LogStore) => new DocumentReader(service, store),
        },
        {
          provide: ROUTES,
          inject: [ReplicationService, ClusterPlace, CLOCK, NODE_CONFIG],
          useFactory: (service: ReplicationService, place: ClusterPlace, clock: Clock, config: NodeConfig) =>
            new ClusterRoutes(service, place, clock, config.nodeId),
        },
        {
          provide: REPLICA_GATE,
          inject: [ReplicationService, LOG_STORE],
          useFactory: (service: ReplicationService, store: LogStore) => new ReplicationGate(service, store),
        },
        {
          provide: PEER_SHARDS,
          inject: [ClusterPlace, ReplicationService],
          useFactory: (place: ClusterPlace, service: ReplicationService) =>
            new ShardCallClients(new PlaceQueryLinks(place), () => service.identity.bootCount),
        },
        {
          provide: ShardCallServer,
          inject: [LocalShards, PEER_SHARDS, ReplicationService, LOGGER],
          useFactory: (local: LocalShards, peers: PeerShards, { map }: ReplicationService, logger: Logger) => {
            const log = logger.child({ module: 'shard-calls' });
            const knows = (node: NodeUuid): boolean => map.known && nodeByUuid(map.current(), node) !== undefined;
            return new ShardCallServer(new RelayingShards(local, peers, knows), {
              refused: (from, problem) => log.warn({ from, problem }, 'a call of another node was refused'),
              failed: (kind, error) => log.error({ kind, err: error }, 'a call of another node failed unexpectedly'),
            });
          },
        },
        {
          provide: LocalShards,
          inject: [REPLICA_GATE, ReplicationService, ShardService, LOG_STORE, DocumentReader, DiskGuard, MemoryGuard],
          useFactory: (
            gates: ReplicaGate,
            service: ReplicationService,
            shards: ShardService,
            store: LogStore,
            reader: DocumentReader,
            disk: DiskGuard,
            memory: MemoryGuard,
          ) => new LocalShards(gates, service, shards, store, reader, new NodeAdmission(disk, memory)),
        },
        {
          provide: FanOut,
          inject: [ROUTES, LocalShards, PEER_SHARDS],
          useFactory: (routes: Routes, local: LocalShards, peers: PeerShards) =>
            new FanOut(routes, local, peers, Math.random),
        },
        {
          provide: MAP_CHANGES,
          inject: [ROUTES, ReplicationService, REPLICA_GATE, PEER_SHARDS],
          useFactory: (routes: Routes, service: ReplicationService, gates: ReplicaGate, peers: PeerShards) =>
            new ForwardedMapChanges(routes, service.map, gates, peers),
        },
        {
          provide: WriteRouter,
          inject: [ROUTES, LocalShards, PEER_SHARDS, RANDOM],
          useFactory: (...parts: ConstructorParameters<typeof WriteRouter>) => new WriteRouter(...parts),
        },
        {
          provide: Writer,
          inject: [ReplicationService, WriteRouter, FanOut, MAP_CHANGES, HASHER, CLOCK, ROUTES, Metrics],
          useFactory: (
            service: ReplicationService,
            router: WriteRouter,
            fanOut: FanOut,
            changes: MapChanges,
            hasher: Hasher,
            clock: Clock,
            routes: Routes,
            metrics: Metrics,
          ) => new Writer(service, router, fanOut, changes, hasher, new ClusterKeys(clock, routes, fanOut), metrics),
        },
        {
          provide: DOCUMENTS,
          inject: [NODE_CONFIG, ReplicationService, FanOut, Writer, MAP_CHANGES, Sessions, EVENTS],
          useFactory: (...parts: ConstructorParameters<typeof DocumentsService>) => new DocumentsService(...parts),
        },
        {
          provide: WinnerFetch,
          inject: [ROUTES, FanOut, LocalShards, ReplicationService],
          useFactory: (...parts: ConstructorParameters<typeof WinnerFetch>) => new WinnerFetch(...parts),
        },
        {
          provide: SEARCH,
          inject: [
            NODE_CONFIG,
            ReplicationService,
            ROUTES,
            FanOut,
            WinnerFetch,
            MAP_CHANGES,
            Sessions,
            EVENTS,
            Metrics,
          ],
          useFactory: (...parts: ConstructorParameters<typeof SearchService>) => new SearchService(...parts),
        },
        {
          provide: CATALOG,
          inject: [NODE_CONFIG, ReplicationService, FanOut, WriteRouter, MAP_CHANGES],
          useFactory: (...parts: ConstructorParameters<typeof CatalogService>) => new CatalogService(...parts),
        },
        {
          provide: NodeFacts,
          inject: [NODE_VERSION, Readiness, DiskGuard],
          useFactory: (version: string, readiness: Readiness, disk: DiskGuard) =>
            new NodeFacts(version, readiness, disk),
        },
        {
          provide: MEMBERS,
          inject: [ClusterPlace, ReplicationService, NodeFacts, CLOCK],
          useFactory: (...parts: ConstructorParameters<typeof ClusterMembers>) => new ClusterMembers(...parts),
        },
        {
          provide: CLUSTER_OPERATIONS,
          inject: [ClusterPlace, ReplicationService, MAP_CHANGES, ROUTES, CLOCK, HASHER],
          useFactory: (
            place: ClusterPlace,
            service: ReplicationService,
            changes: MapChanges,
            routes: Routes,
            clock: Clock,
            hasher: Hasher,
          ) => {
            const calls = new OperationCalls({
              clock,
              hasher,
              newId: () => randomUUID(),
              map: () => service.map.current(),
              facts: (map) => {
                if (place.taken === undefined)
                  throw new NodeError('STARTING', 'the node has not joined its cluster yet');
                return place.taken.operator.facts(map);
              },
              knownEpoch: (shard) => service.leader(shard)?.epoch.num ?? 0,
              change: (operation) => changes.change(operation),
            });
            const forcedMap = new ForcedMap({ clock, timers: systemTimers, replication: service, newId: randomUUID });
            return new PlannedOperations(calls, forcedMap, routes, changes);
          },
        },
        {
          provide: CLUSTER,
          inject: [NODE_CONFIG, ReplicationService, ROUTES, FanOut, MEMBERS, CLUSTER_OPERATIONS, NodeFacts],
          useFactory: (...parts: ConstructorParameters<typeof ClusterService>) => new ClusterService(...parts),
        },
        {
          provide: STREAMS,
          inject: [ReplicationService, ROUTES, FanOut, MAP_CHANGES],
          useFactory: (...parts: ConstructorParameters<typeof StreamsService>) => new StreamsService(...parts),
        },
        { provide: EVENTS, useFactory: () => new EventsService() },
        {
          provide: ClusterEvents,
          inject: [ReplicationService, ClusterPlace, ROUTES, MEMBERS, EVENTS],
          useFactory: (
            service: ReplicationService,
            place: ClusterPlace,
            routes: Routes,
            members: Members,
            events: EventsPort,
          ) => new ClusterEvents(service, place, routes, members, events, systemTimers),
        },
      ],
      exports: [
        DOCUMENTS,
        SEARCH,
        CATALOG,
        CLUSTER,
        STREAMS,
        EVENTS,
        ClusterEvents,
        NodeFacts,
        PEER_SHARDS,
        ShardCallServer,
      ],
    };
  }
}
