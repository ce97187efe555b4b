/** Undoes a change of a class. */
export type Undo = () => void;

type Method = (...given: never[]) => unknown;

/**
 * Puts another method in a class's place for the length of a run: how a rule is broken on purpose without production
 * knowing. `make` gets the method that was there.
 */
export function overrideMethod<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (before: T[K]) => T[K],
): Undo {
  const before = Object.getOwnPropertyDescriptor(target, name);
  if (typeof before?.value !== 'function') throw new Error(`there is no method ${String(name)}`);
  Object.defineProperty(target, name, { ...before, value: make(before.value as T[K]) });
  return () => void Object.defineProperty(target, name, before);
}

/** The same for what is read like a field. `value` gets the object and what it would have said. */
export function overrideGetter<T extends object, K extends keyof T>(
  target: T,
  name: K,
  value: (self: T, before: T[K]) => T[K],
): Undo {
  const before = Object.getOwnPropertyDescriptor(target, name);
  const read = before?.get as ((this: T) => T[K]) | undefined;
  if (before === undefined || read === undefined) throw new Error(`there is no getter ${String(name)}`);
  Object.defineProperty(target, name, {
    ...before,
    get(this: T) {
      return value(this, read.call(this));
    },
  });
  return () => void Object.defineProperty(target, name, before);
}

/** An object of a class with some methods of its own in place of the class's; the others run on the object itself. */
export function withMethods<T extends object>(object: T, own: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name as keyof T];
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value as Method).bind(target as never) : value;
    },
  });
}
