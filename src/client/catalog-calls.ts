import type { Transport } from './transport.js';
import type { CallOptions } from './types/calls.js';
import type { Alias, Collection, CollectionSettings } from './types/catalog.js';

/** `client.collections`: a collection has one dimension, one similarity, and documents of its own. */
export class CollectionCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Makes a collection; asking again with equal settings is fine, with other ones 409 COLLECTION_CONFLICT. */
  async put(name: string, settings: CollectionSettings = {}, options: CallOptions = {}): Promise<Collection> {
    const body = { type: 'application/json', content: JSON.stringify(settings) };
    return (await this.#transport.request({ ...options, method: 'PUT', path: path(name), body, repeatable: true }))
      .json as Collection;
  }

  async get(name: string, options: CallOptions = {}): Promise<Collection> {
    return (await this.#transport.request({ ...options, method: 'GET', path: path(name), repeatable: true }))
      .json as Collection;
  }

  async list(options: CallOptions = {}): Promise<readonly Collection[]> {
    const { json } = await this.#transport.request({
      ...options,
      method: 'GET',
      path: '/api/v1/collections',
      repeatable: true,
    });
    return Array.isArray(json) ? (json as Collection[]) : (json as { collections: readonly Collection[] }).collections;
  }

  /** Drops a collection with all its documents. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.request({ ...options, method: 'DELETE', path: path(name), repeatable: true });
  }
}

function path(name: string): string {
  return `/api/v1/collections/${encodeURIComponent(name)}`;
}

/** `client.aliases`: names that searches follow to a collection, switched atomically. */
export class AliasCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Points an alias at a collection, at once for all searches. */
  async put(name: string, collection: string, options: CallOptions = {}): Promise<Alias> {
    const body = { type: 'application/json', content: JSON.stringify({ collection }) };
    return (await this.#transport.request({ ...options, method: 'PUT', path: aliasPath(name), body, repeatable: true }))
      .json as Alias;
  }

  async get(name: string, options: CallOptions = {}): Promise<Alias> {
    return (await this.#transport.request({ ...options, method: 'GET', path: aliasPath(name), repeatable: true }))
      .json as Alias;
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.request({ ...options, method: 'DELETE', path: aliasPath(name), repeatable: true });
  }
}

function aliasPath(name: string): string {
  return `/api/v1/aliases/${encodeURIComponent(name)}`;
}
