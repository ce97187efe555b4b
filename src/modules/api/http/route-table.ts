import type { EndpointSpec } from './endpoint.js';

/** One method of one path. */
export interface RegisteredRoute {
  readonly method: string;
  /** With parameters as `:name`. */
  readonly path: string;
  readonly endpoint: EndpointSpec;
}

/** Every route of the node, as the router learned it: what 405 answers and /openapi.json tell. */
export class RouteTable {
  readonly routes: RegisteredRoute[] = [];
  private readonly patterns = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();

  add(route: RegisteredRoute): void {
    this.routes.push(route);
    let known = this.patterns.get(route.path);
    if (known === undefined) {
      const source = route.path.replaceAll('.', '\\.').replaceAll(/:[A-Za-z]+/g, '[^/]+');
      known = { pattern: new RegExp(`^${source}$`), methods: new Set(['OPTIONS']) };
      this.patterns.set(route.path, known);
    }
    known.methods.add(route.method);
    if (route.method === 'GET') known.methods.add('HEAD');
  }

  /** Methods that `path` (without query) understands, sorted; none when there is no such path. */
  methodsOf(path: string): readonly string[] {
    const methods = new Set<string>();
    for (const known of this.patterns.values()) {
      if (known.pattern.test(path)) for (const method of known.methods) methods.add(method);
    }
    return [...methods].sort();
  }
}
